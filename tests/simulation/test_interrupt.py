"""One Ctrl-C ends a run within seconds and lets go of it; what it had finished is kept, and it ends as any other."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from tiny import TinyStudy

from server.run_lock import is_running

COMMAND = (sys.executable, "-c", "from simulation.cli import main; main()", "run")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
QUICK = ("study.arms=[real]", "classifier.federation.rounds=1")
LONGEST = 10.0
"""Seconds from the signal to the end of the process."""


def kept(run_dir: Path) -> dict[str, bytes]:
    """Everything that a study learns, by file."""
    files = sorted((run_dir / "checkpoints").rglob("*.safetensors"))
    return {str(file.relative_to(run_dir)): file.read_bytes() for file in files}


def interrupted(arguments: list[str], at: str, *, group: bool) -> tuple[int, float, str]:
    """Exit code, seconds from SIGINT to the end, and what was said after it.

    Args:
        at: the beginning of a line after which the signal is sent.
        group: to every process of the command, as a terminal does.
    """
    with subprocess.Popen(
        [*COMMAND, *arguments],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        watchdog = threading.Timer(240, lambda: os.killpg(process.pid, signal.SIGKILL))
        watchdog.start()
        assert process.stdout is not None
        seen = []
        for line in process.stdout:
            seen.append(line)
            if line.startswith(at):
                break
        assert seen[-1].startswith(at), "".join(seen)
        begun = time.monotonic()
        os.killpg(process.pid, signal.SIGINT) if group else process.send_signal(signal.SIGINT)
        after = process.stdout.read()
        code = process.wait()
        watchdog.cancel()
        return code, time.monotonic() - begun, after


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["in_process", "ray"])
def test_one_interrupt_is_enough_and_the_run_goes_on_as_if_there_had_been_none(
    engine: str, tiny_study: TinyStudy, tmp_path: Path
) -> None:
    arguments = tiny_study.with_output(tmp_path, *QUICK, f"simulation.engine={engine}")
    whole = subprocess.run([*COMMAND, *arguments, "name=whole"], env=ENVIRONMENT, capture_output=True, timeout=280)
    assert whole.returncode == 0, whole.stderr.decode()
    folder = tmp_path / "runs" / "stopped"
    given, moments = [*arguments, "name=stopped"], ("gan/cgan, round 1", "[4/")
    for index, at in enumerate(moments):
        code, seconds, after = interrupted(given, at, group=index % 2 == 1)
        assert code == 130, after
        assert seconds < LONGEST
        assert after.endswith("interrupted\n")
        assert "Traceback" not in after
        assert not is_running(folder)
        given = [f"resume={folder}"]
    done = subprocess.run([*COMMAND, *given], env=ENVIRONMENT, capture_output=True, timeout=280)
    assert done.returncode == 0, done.stderr.decode()
    assert kept(folder) == kept(tmp_path / "runs" / "whole")
    assert len(kept(folder)) == 2
