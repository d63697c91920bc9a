"""A study that is killed at a named point of a round goes on from its last finished round, and ends as if nothing was.

``tests/simulation/test_resume.py`` kills at random moments; here each point of a round has its turn.
"""

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file
from tiny import TinyStudy

QUICK = ("study.arms=[real]", "federation.rounds=3", "classifier.federation.rounds=1", "evaluation.gallery=1")

KILLER = """
import os, signal, sys
from simulation.cli import main

where, *arguments = sys.argv[1:]
KILL = lambda: os.kill(os.getpid(), signal.SIGKILL)


def before(owner, name, when):
    original = getattr(owner, name)
    def patched(*given, **named):
        if when(*given, **named):
            KILL()
        return original(*given, **named)
    setattr(owner, name, patched)


def after(owner, name, when):
    original = getattr(owner, name)
    def patched(*given, **named):
        result = original(*given, **named)
        if when(*given, **named):
            KILL()
        return result
    setattr(owner, name, patched)


def writes(end):
    return lambda path, *_: "gan/cgan" in str(path) and "checkpoints" in str(path) and str(path).endswith(end)


import client.training.rounds, common.system.files, server.aggregators.fedavg, server.checkpoint, server.rounds
from client.training.state import RoundState
from pathlib import Path

in_round = lambda training, number, *_: training.asked.phase == "gan/cgan" and number == 2
if where == "before the first message of a round":
    before(server.rounds.FederatedTraining, "hear", in_round)
elif where == "while the second site trains":
    asked = []
    def second(asking, arrays):
        if (asking.instruction.phase, asking.instruction.server_round) == ("gan/cgan", 2):
            asked.append(asking.study.settings.name)
        return len(asked) == 2
    before(client.training.rounds, "train_gan", second)
elif where == "after a site has kept its state, before it replies":
    after(RoundState, "save", lambda self, number, *_, **__: "cgan" in str(self.folder) and number == 2)
elif where == "when all have replied":
    after(server.rounds.FederatedTraining, "hear", in_round)
elif where == "during the aggregation":
    done = []
    def second_time(*_):
        done.append(1)
        return len(done) == 2
    before(server.aggregators.fedavg.FedAvg, "aggregate", second_time)
elif where == "in the middle of writing the weights":
    before(Path, "replace", lambda self, target: writes("round-00002.safetensors")(target))
elif where == "between the weights and the record":
    after(server.checkpoint, "write_tensors", writes("round-00002.safetensors"))
elif where == "in the middle of writing the record":
    before(Path, "replace", lambda self, target: writes("round-00002.json")(target))
elif where == "between the record and the removal of older weights":
    after(server.checkpoint, "write_json", writes("round-00002.json"))
elif where == "after the round":
    after(
        server.checkpoint.PhaseCheckpoints,
        "save_round",
        lambda self, number, *_, **__: "gan/cgan" in str(self.folder) and number == 2,
    )
else:
    raise SystemExit("no such point: " + where)
main(["run", *arguments])
"""

POINTS = {
    "before the first message of a round": 1,
    "while the second site trains": 1,
    "after a site has kept its state, before it replies": 1,
    "when all have replied": 1,
    "during the aggregation": 1,
    "in the middle of writing the weights": 1,
    "between the weights and the record": 1,
    "in the middle of writing the record": 1,
    "between the record and the removal of older weights": 2,
    "after the round": 2,
}
"""Where in round 2 the process dies -> how many rounds are finished then: never fewer than the one before."""


def run(*command: str) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, *command], env=environment, capture_output=True, timeout=280)


def weights(run_dir: Path) -> dict[str, str]:
    """A digest of every tensor of every round that was kept, by file and name."""
    return {
        f"{file.relative_to(run_dir)} {name}": hashlib.sha256(tensor.numpy().tobytes()).hexdigest()
        for file in sorted((run_dir / "checkpoints").rglob("*.safetensors"))
        for name, tensor in load_file(file).items()
    }


@pytest.fixture(scope="module")
def undisturbed(tiny_study: TinyStudy, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("whole")
    done = run("-m", "simulation.cli", "run", *tiny_study.with_output(folder, *QUICK))
    assert done.returncode == 0, done.stderr.decode()
    return weights(folder / "runs" / "demo")


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
def test_a_round_in_which_the_study_is_killed_is_done_again_and_no_other(
    point: str, tiny_study: TinyStudy, tmp_path: Path, undisturbed: dict[str, str]
) -> None:
    killed = run("-c", KILLER, point, *tiny_study.with_output(tmp_path, *QUICK))
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    folder = tmp_path / "runs" / "demo"
    finished = sorted(file.name for file in (folder / "checkpoints" / "gan" / "cgan").glob("round-*.json"))
    assert finished == [f"round-{number:05d}.json" for number in range(1, POINTS[point] + 1)]
    resumed = run("-m", "simulation.cli", "run", f"resume={folder}")
    assert resumed.returncode == 0, resumed.stderr.decode()
    assert weights(folder) == undisturbed
    leftovers = [file.name for file in (folder / "checkpoints").rglob("*.partial")]
    assert len(leftovers) <= 1
