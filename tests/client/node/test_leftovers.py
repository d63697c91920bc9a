"""Processes of an earlier node are found by their Flower home, and no other is touched."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

from client.node.leftovers import end_leftovers
from common.system.child_process import ChildProcess


def sleeper(home: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"], env={**os.environ, "FLWR_HOME": str(home)}
    )


def test_only_the_sites_own_processes_are_ended(tmp_path: Path) -> None:
    mine, other = sleeper(tmp_path / "a"), sleeper(tmp_path / "b")
    try:
        end = time.monotonic() + 20
        while end_leftovers(tmp_path / "a") == 0 and time.monotonic() < end:
            time.sleep(0.1)
        mine.wait(10)
        assert other.poll() is None
    finally:
        mine.kill()
        other.kill()
        other.wait(10)


def test_a_child_is_read_stopped_with_its_own_children_and_dies_with_its_parent(tmp_path: Path) -> None:
    lines: list[str] = []
    program = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n"
        "print('child', child.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    process = ChildProcess([sys.executable, "-c", program], os.environ, lines.append)
    process.start()
    end = time.monotonic() + 20
    while not lines and time.monotonic() < end:
        time.sleep(0.05)
    grandchild = int(lines[0].split()[1])
    process.stop()
    assert process.code() is not None
    assert not psutil.pid_exists(grandchild) or psutil.Process(grandchild).status() == psutil.STATUS_ZOMBIE

    parent = (
        "import os, sys\nfrom common.system.child_process import ChildProcess\n"
        "program = 'import os, time; print(os.getpid(), flush=True); time.sleep(600)'\n"
        "child = ChildProcess([sys.executable, '-c', program], os.environ, lambda line: print(line, flush=True))\n"
        "child.start()\nsys.stdin.read()\n"
    )
    with subprocess.Popen([sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        pid = int(running.stdout.readline())
        running.kill()
    end = time.monotonic() + 20
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE and time.monotonic() < end:
        time.sleep(0.05)
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
