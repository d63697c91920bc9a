"""A hospital whose disk is full, one that is revoked in the middle, a server that is stopped: what each side reads."""

import csv
import json
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from running_federation import BIN, STUDY, RunningFederation
from tiny import write_patient

pytestmark = [pytest.mark.slow]

LONG = ("federation.local_steps=150",)
"""Rounds of half a minute on a slow machine, so that there is a middle."""

NAMESPACE = ("unshare", "--map-root-user", "--mount", "--")
"""A program whose mounts are its own."""


def begin(three: RunningFederation, name: str, *more: str) -> None:
    arguments = [*STUDY, *LONG, f"reference.brain.path={three.reference()}", f"name={name}", *more]
    three.start(f"run-{name}", "server", "run", three.file, *arguments)


def contributors(three: RunningFederation, run: str) -> list[list[str]]:
    files = sorted((three.root / "runs" / run / "checkpoints" / "gan" / "cgan").glob("round-*.json"))
    return [json.loads(file.read_text())["contributors"] for file in files]


def training(three: RunningFederation, site: str, before: int) -> None:
    three.wait_until(lambda: three.said(site).count("asked: train.gan") > before, f"{site} trains", 240)


@pytest.mark.skipif(
    shutil.which("unshare") is None or subprocess.run([*NAMESPACE, "true"], check=False).returncode != 0,
    reason="a small disk of one process needs a namespace, which this system does not allow",
)
def test_a_hospital_whose_disk_is_full_says_so_and_the_others_go_on(three: RunningFederation) -> None:
    three.stop("hospital3")
    own, small = three.root / "hospital3", three.root / "small"
    small.mkdir()
    steps = [
        f"mount -t tmpfs -o size=20m tmpfs {small}",
        f"cp -a {own}/. {small}",
        f"mount --bind {small} {own}",
        f"exec {BIN}/oncofed-client start {own}/site.yaml",
    ]
    before = three.said("hospital3").count("connected to")
    with (three.root / "hospital3.out").open("ab") as output:
        three.processes["hospital3"] = subprocess.Popen(
            [*NAMESPACE, "sh", "-c", " && ".join(steps)],
            cwd=three.root,
            env=three.environment(),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    three.wait_until(lambda: three.said("hospital3").count("connected to") > before, "hospital3 connected")
    seen = Path(f"/proc/{three.processes['hospital3'].pid}/root{own}")
    filled = subprocess.run(["dd", "if=/dev/zero", f"of={seen}/fill", "bs=64k"], capture_output=True, check=False)
    assert b"No space left" in filled.stderr
    try:
        begin(three, "full", "federation.rounds=1")
        three.wait_for("run-full", "hospital3 does not take part: ", 180)
        three.wait_for("run-full", "round 1 of 1: hospital1, hospital2;", 240)
        assert "No space left on device" in three.said("hospital3")
        three.command("server", "stop", three.file)
        (seen / "fill").unlink()
    finally:
        three.stop("hospital3")
    three.start_node("hospital3")


def test_a_server_that_is_stopped_says_so_and_its_study_goes_on_afterwards(three: RunningFederation) -> None:
    asked = three.said("hospital1").count("asked: train.gan")
    begin(three, "served")
    training(three, "hospital1", asked)
    three.stop("server")
    three.wait_for("run-served", "served: the server was stopped; go on with oncofed-server run", 60)
    three.wait_for("hospital1", "cannot be reached; it is tried again until it can", 60)
    assert "served  stopped: the server was stopped" in three.command("server", "status", three.file)
    before = [three.said(site).count("connected to") for site in three.sites]
    three.start_server()
    for site, count in zip(three.sites, before, strict=True):
        three.wait_until(lambda s=site, n=count: three.said(s).count("connected to") > n, f"{site} is back", 120)
    said = three.command("server", "run", three.file, "--resume", "runs/served", seconds=900)
    assert "report: " in said
    assert contributors(three, "served") == [three.sites] * 2


def test_a_study_goes_on_with_the_patients_that_it_began_with(three: RunningFederation) -> None:
    """Its node was killed, its folder has grown, another hospital's patient is gone, and somebody edits the study."""
    asked = three.said("hospital1").count("asked: train.gan")
    begin(three, "begun", "split.train=0.5", "split.test=0.5")
    training(three, "hospital1", asked)
    three.command("server", "stop", three.file)
    for site in three.sites:
        three.stop(site, signal.SIGKILL)
    for number in range(4):
        write_patient(three.root / "data" / "hospital1", f"aa-new-{number}", tumour=True, seed=8000 + number)
    gone = three.root / "data" / "hospital2" / "case-2-02"
    gone.rename(three.root / "aside")
    config = three.root / "runs" / "begun" / "config.yaml"
    whole = config.read_text()
    config.write_text(whole.replace("seed: 1\n", "seed: 2\n", 1))
    before = [three.said(site).count("connected to") for site in three.sites]
    for site in three.sites:
        three.start_node(site)
    for site, count in zip(three.sites, before, strict=True):
        three.wait_until(lambda s=site, n=count: three.said(s).count("connected to") > n, f"{site} is back", 120)
    said = three.command("server", "run", three.file, "--resume", "runs/begun", code=2)
    assert "(seed: 1, now 2)" in said
    config.write_text(whole)
    said = three.command("server", "run", three.file, "--resume", "runs/begun", seconds=900)
    assert "hospital2 does not take part: " in said
    assert "patients that this run began with are not there any more" in said
    assert "case-2-02" not in said
    own = (three.root / "hospital2" / "log.jsonl").read_text()
    assert "patients are not what they were when this run began" in own
    assert "case-2-02" in own
    assert contributors(three, "begun")[-1] == ["hospital1", "hospital3"]
    results = three.root / "hospital1" / "runs" / "begun" / "results"
    with (results / "predictions.csv").open(newline="") as file:
        tested = {row["patient"] for row in csv.DictReader(file)}
    split = json.loads((results.parent / "state" / "begun" / "split.json").read_text())["parts"]
    assert tested == set(split["test"])
    assert len(split["train"]) == len(split["test"]) == 5
    assert not any("aa-new" in name for name in (*split["train"], *split["test"]))
    assert "patients that came after this run had begun take no part in it" in said
    (three.root / "aside").rename(gone)


def test_a_site_that_is_revoked_in_the_middle_is_not_waited_for(three: RunningFederation) -> None:
    asked = three.said("hospital3").count("asked: train.gan")
    begin(three, "shut", "strategy.returning=900")
    training(three, "hospital3", asked)
    three.command("server", "provision", three.file, "--revoke", "hospital3")
    three.wait_for("run-shut", "hospital3: its key was revoked on", 60)
    assert "hospital3: its key was revoked on" in three.command("server", "status", three.file)
    three.wait_for("hospital3", "the node ended: the coordinator does not (let this node in|know this node)", 120)
    three.wait_for("run-shut", "round 2 of 2: hospital1, hospital2;", 240)
    assert contributors(three, "shut") == [["hospital1", "hospital2"]] * 2
    three.command("server", "stop", three.file)
