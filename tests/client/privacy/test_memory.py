"""A site's memory follows the patients that are there, and not the number that it declares."""

import json
import os
import subprocess
import sys
from pathlib import Path

SUPPORT = Path(__file__).parents[2] / "support"

WORK = """
import json, resource, sys
from pathlib import Path

from flwr.app import RecordDict
from hospital import Hospital
from tiny import TINY

import torch
from client.privacy.roster import begin_roster
from common.study.config import compose, to_yaml
from common.protocol.records import ARRAYS, CONFIG, Instruction, instruction_record, to_arrays
from common.training.build import build_classifier_trainer, build_gan_trainer

folder, declared, per_step = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
private = ("privacy=patient_dp", f"privacy.expected_batch_size={per_step}", "study.arms=[real,real_synthetic]")
study = compose([*TINY, *private])
shares = {"train": 0.4, "test": 0.6}
site = Hospital(folder, privacy={"epsilon": 20.0, "patients": declared, "shares": shares})
begin_roster(site.settings.privacy_folder(), bytes([1] * 32))
device = torch.device("cpu")
gan = build_gan_trainer(study, "cgan", device=device, weights=study.weights).shared_arrays()
judge = build_classifier_trainer(study, device=device, weights=study.weights, total_steps=1).shared_arrays()


def ask(action, phase, arrays, **more):
    asked = {"run": "demo", "phase": phase, "experiment": to_yaml(study, leaving=True), **more}
    content = RecordDict({CONFIG: instruction_record(Instruction.model_validate(asked))})
    if arrays is not None:
        content[ARRAYS] = to_arrays(arrays)
    reply = site.ask(action, content)
    assert not reply.has_error(), reply.error.reason


ask("query.hello", "hello", None)
ask("train.gan", "gan/cgan", gan, model="cgan", **{"server-round": 1})
ask("query.synthesise", "synthesis/cgan", gan, model="cgan")
arm = "real_synthetic"
ask("train.classifier", f"classifier/{arm}", judge, arm=arm, **{"server-round": 1})
ask("evaluate.classifier", f"federated/{arm}", judge, arm=arm)
made = sum(file.stat().st_size for file in folder.rglob("images/*.npz"))
print(json.dumps([resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, made]))
"""


def taken(folder: Path, declared: int, per_step: int) -> tuple[float, int]:
    """MiB of the largest resident memory, and bytes of the slices that were made, of all that a private study asks."""
    done = subprocess.run(
        [sys.executable, "-c", WORK, str(folder), str(declared), str(per_step)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{SUPPORT}:{SUPPORT.parents[1]}"},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    memory, made = json.loads(done.stdout.splitlines()[-1])
    return memory, made


def test_a_hundred_thousand_declared_patients_take_the_memory_of_those_that_are_there(tmp_path: Path) -> None:
    few, made = taken(tmp_path / "few", declared=4, per_step=2)
    many, made_of_many = taken(tmp_path / "many", declared=100_000, per_step=10_000)
    assert made == made_of_many > 0
    assert many < few + 100
