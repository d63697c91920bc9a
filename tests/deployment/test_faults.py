"""What is killed comes back, what is gone for good is named, and nothing that was finished is done again."""

import contextlib
import json
import time

import psutil
import pytest
from running_federation import STUDY, RunningFederation, weights

pytestmark = [pytest.mark.slow]

LONG = ("federation.local_steps=150",)
"""Rounds of half a minute on a slow machine, so that there is a middle to be killed in."""


def begin(three: RunningFederation, name: str, *more: str) -> None:
    arguments = [*STUDY, *LONG, f"reference.brain.path={three.reference()}", f"name={name}", *more]
    three.start(f"run-{name}", "server", "run", three.file, *arguments)


def kill(processes: list[psutil.Process]) -> None:
    assert processes
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def rounds(three: RunningFederation, run: str, phase: str) -> list[dict[str, object]]:
    files = sorted((three.root / "runs" / run / "checkpoints" / phase).glob("round-*.json"))
    return [json.loads(file.read_text()) for file in files]


def test_a_killed_node_returns_within_a_minute_and_does_its_round(three: RunningFederation) -> None:
    begin(three, "node")
    three.wait_until(lambda: "asked: train.gan" in three.said("hospital2"), "hospital2 trains")
    before = three.said("hospital2").count("connected to")
    kill(three.below("hospital2", "guarded_node"))
    killed = time.monotonic()
    three.wait_until(lambda: three.said("hospital2").count("connected to") > before, "hospital2 is back", 60)
    assert time.monotonic() - killed < 60
    assert "the node ended" in three.said("hospital2")
    three.wait_for("run-node", "hospital2: its node was lost; it is waited for, 900 s at most", 60)
    three.wait_for("run-node", "hospital2: is given its work again", 60)
    three.wait_for("run-node", "round 1 of 2: hospital1, hospital2, hospital3", 240)
    # The server is killed in the second round; the study goes on from the first.
    three.wait_until(lambda: three.said("hospital1").count("asked: train.gan") >= 2, "the second round")
    first = rounds(three, "node", "gan/cgan")
    kill(three.below("server", "guarded_superlink"))
    three.wait_for("run-node", "stopped without a word, killed perhaps; go on with", 60)
    three.wait_for("server", "the SuperLink ended .* and is started again", 30)
    said = three.command("server", "run", three.file, "--resume", "runs/node", seconds=600)
    assert "round 2 of 2: hospital1, hospital2, hospital3" in said
    assert rounds(three, "node", "gan/cgan")[: len(first)] == first
    assert len(rounds(three, "node", "gan/cgan")) == 2


def test_what_was_interrupted_is_what_it_would_have_been(three: RunningFederation) -> None:
    """The study of the last test once more, without a disturbance."""
    begin(three, "calm")
    three.wait_for("run-calm", "report: ", 600)
    interrupted, calm = (weights(three.root / "runs" / name) for name in ("node", "calm"))
    assert set(interrupted) == set(calm)
    for file, trained in interrupted.items():
        for key, value in trained.items():
            assert value.equal(calm[file][key]), (file, key)


def test_a_study_that_was_stopped_is_resumed_and_one_that_runs_is_not(three: RunningFederation) -> None:
    begin(three, "halted")
    three.wait_until(lambda: bool(rounds(three, "halted", "gan/cgan")), "a round", 240)
    said = three.command("server", "run", three.file, "--resume", "runs/halted", code=2)
    assert "this study runs; see it with oncofed-server follow, or stop it first" in said
    three.command("server", "stop", three.file)
    three.wait_for("run-halted", "error: halted: stopped with oncofed-server stop; go on with", 60)
    assert "halted  stopped: stopped with oncofed-server stop" in three.command("server", "status", three.file)


def test_a_site_that_is_gone_for_good_is_named_and_the_study_ends(three: RunningFederation) -> None:
    begin(three, "fewer", "strategy.returning=20", "strategy.gathering=20")
    three.wait_until(lambda: "query.hello" in three.said("hospital3"), "hospital3 said hello")
    asked = three.said("hospital3").count("asked: train.gan")
    three.wait_until(lambda: three.said("hospital3").count("asked: train.gan") > asked, "hospital3 trains", 180)
    three.stop("hospital3")
    three.wait_for("run-fewer", "report: ", 600)
    lost = rounds(three, "fewer", "gan/cgan")
    assert [one["contributors"] for one in lost] == [["hospital1", "hospital2"]] * 2
    assert "did not return within 20 s" in str(lost[0]["refused"])
    assert "it is not connected" in str(lost[1]["refused"])
    results = json.loads((three.root / "runs" / "fewer" / "results.json").read_text())
    assert results["silent"]["arms"] == {"hospital3": "it is not connected"}
    page = (three.root / "runs" / "fewer" / "report" / "index.html").read_text()
    assert "Without an answer" in page
    assert "hospital3" in page
    # A study that begins without it says so at once, and goes on with those that are enough.
    begin(three, "without", "strategy.gathering=5", "federation.rounds=1")
    three.wait_for("run-without", "waiting for hospital3 to connect, 5 s at most", 60)
    three.wait_for("run-without", "hospital3: last seen", 60)
    three.wait_for("run-without", "hospital3 does not take part: it was not connected within 5 s", 60)
    three.wait_for("run-without", "report: ", 600)
