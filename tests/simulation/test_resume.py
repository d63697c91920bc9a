"""A run that was killed at any moment ends like one that was not: equal weights, bit by bit."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny import TinyStudy

COMMAND = (sys.executable, "-c", "from simulation.cli import main; main()")


def weights(run_dir: Path) -> dict[str, bytes]:
    """Everything that a study learns, by file."""
    return {
        str(file.relative_to(run_dir)).replace(run_dir.name, "run"): file.read_bytes()
        for file in sorted(run_dir.rglob("*.safetensors"))
    }


def start(arguments: list[str]) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*COMMAND, "run", *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_ends_as_an_uninterrupted_one(
    tiny_study: TinyStudy, tmp_path: Path
) -> None:
    arguments = tiny_study.with_output(tmp_path, "study.arms=[real,real_synthetic]", "federation.rounds=3")
    whole = start([*arguments, "name=whole"])
    output, _ = whole.communicate(timeout=280)
    assert whole.returncode == 0, output.decode()

    checkpoints = tmp_path / "runs" / "killed" / "checkpoints"
    waiter = random.Random(5)
    attempts = 0
    arguments = [*arguments, "name=killed"]
    while True:
        process = start(arguments)
        # Each attempt may finish a few more files than the one before, and dies at a random moment after that.
        target = len(list(checkpoints.rglob("*.json"))) + 2 if attempts < 4 else 10**6
        while process.poll() is None and len(list(checkpoints.rglob("*.json"))) < target:
            time.sleep(0.02)
        time.sleep(waiter.random() * 0.7)
        process.send_signal(signal.SIGKILL) if process.poll() is None else None
        output, _ = process.communicate(timeout=280)
        attempts += 1
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, output.decode()
        arguments = [f"resume={tmp_path / 'runs' / 'latest'}"]
    assert attempts == 5
    killed, uninterrupted = (weights(tmp_path / "runs" / name) for name in ("killed", "whole"))
    assert set(killed) == set(uninterrupted)
    assert [name for name in killed if killed[name] != uninterrupted[name]] == []
