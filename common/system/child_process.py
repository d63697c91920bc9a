"""A program that this one started and answers for: its lines are read, and it does not outlive its parent."""

import contextlib
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from common.system.waiting_lines import WaitingLines, read_lines

PATIENCE = 20.0
"""Seconds that a process has to end by itself."""

_LONGEST_LINE = 65_536


class ChildProcess:
    """One program at a time, which may be started again after it has ended.

    The system ends it when this process dies, however that happens. Start it from the main thread only: the system
    watches the thread that started it.

    Args:
        command: program and arguments.
        environment: of the program.
        on_line: is given each line of its output, as :func:`common.system.outside.line` makes it and without colours,
            from a thread of its own. However long that takes, the program is never held up: lines are then left out,
            and it is told how many.
        descriptors: open files that it gets beside its output, under the same numbers.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        environment: Mapping[str, str],
        on_line: Callable[[str], None],
        descriptors: Sequence[int] = (),
    ) -> None:
        self.command = [str(part) for part in command]
        self._environment = dict(environment)
        self._on_line = on_line
        self._descriptors = tuple(descriptors)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it.

        Raises:
            OSError: if the program is not there.
        """
        watched = ["setpriv", "--pdeathsig", "TERM", "--"] if shutil.which("setpriv") else []
        self._process = subprocess.Popen(
            [*watched, *self.command],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            # A Ctrl-C at the terminal is for the parent, which stops its children in order.
            start_new_session=True,
            pass_fds=self._descriptors,
        )
        assert self._process.stdout is not None
        waiting = WaitingLines()
        threading.Thread(target=read_lines, args=(self._process.stdout, waiting), daemon=True).start()
        threading.Thread(target=self._tell, args=(waiting,), daemon=True).start()

    @property
    def pid(self) -> int:
        """Of the running program."""
        assert self._process is not None
        return self._process.pid

    def code(self) -> int | None:
        """Its exit code; None while it runs."""
        assert self._process is not None
        return self._process.poll()

    def wait(self, seconds: float) -> int | None:
        """Waits for its end; the exit code, or None if it runs on."""
        assert self._process is not None
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def signal(self, number: signal.Signals) -> None:
        """Sends it a signal, if it still runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def stop(self, patience: float = PATIENCE) -> None:
        """Ends it and whatever it started, gently at first."""
        if self._process is None:
            return
        family = descendants(self._process.pid)
        self.signal(signal.SIGTERM)
        self.wait(patience)
        end_processes([psutil.Process(self._process.pid)] if self._process.poll() is None else [], family)

    def _tell(self, waiting: WaitingLines) -> None:
        for told in waiting:
            with contextlib.suppress(Exception):
                self._on_line(told)


def reaching_itself(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment, in which no proxy stands between two programs of this machine.

    >>> reaching_itself({"NO_PROXY": "example.org"})
    {'NO_PROXY': 'example.org,127.0.0.1,localhost', 'no_proxy': 'example.org,127.0.0.1,localhost'}
    """
    named = [one for key in ("NO_PROXY", "no_proxy") for one in environment.get(key, "").split(",") if one.strip()]
    excepted = ",".join(dict.fromkeys([*named, "127.0.0.1", "localhost"]))
    return {**environment, "NO_PROXY": excepted, "no_proxy": excepted}


def descendants(pid: int) -> list[psutil.Process]:
    """Every process below ``pid``."""
    try:
        found: list[psutil.Process] = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return found


def end_processes(*groups: Sequence[psutil.Process], patience: float = 5.0) -> None:
    """Asks processes to end, and ends those that do not."""
    alive: list[Any] = [process for group in groups for process in group if process.is_running()]
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    _, left = psutil.wait_procs(alive, timeout=patience)
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(left, timeout=patience)
