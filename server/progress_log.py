"""A study's progress as a file: the ServerApp writes it, any number of commands read it, whichever started first.

One :class:`~common.study.progress.Event` a line, in ``progress.jsonl`` of the run's folder: those of
:class:`~common.study.progress.StudyProgress`, and ``began``, ``finished`` or ``failed``.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from common.errors import OncofedError
from common.study.progress import Event, StudyProgress
from common.system.private_files import make_private_folder

FILE = "progress.jsonl"


class ProgressLog(StudyProgress):
    """Writes what a study tells; a line is on its way to the disk before the study goes on.

    An end is written as what it was, ``finished`` or ``failed``.
    """

    def __init__(self, run_dir: Path) -> None:
        make_private_folder(run_dir)
        before = _last_byte(run_dir / FILE)
        self._file = (run_dir / FILE).open("a", encoding="utf-8")
        if before not in (b"", b"\n"):
            # What a crash left of a line must not swallow the next one.
            self._file.write("\n")

    def take(self, event: Event) -> None:
        self._file.write(f"{event.to_line()}\n")
        self._file.flush()

    def write(self, event: str, **values: Any) -> None:
        """Adds a line."""
        self.take(Event(event, values))


def _last_byte(file: Path) -> bytes:
    """Empty where there is none."""
    with suppress(FileNotFoundError), file.open("rb") as opened:
        opened.seek(max(0, file.stat().st_size - 1))
        return opened.read(1)
    return b""


@contextmanager
def recorded(run_dir: Path, **began: Any) -> Iterator[ProgressLog]:
    """The log of a study that runs within the block: that it begins is written, and how it ends.

    Args:
        run_dir: of the study.
        began: values of the first line.
    """
    progress = ProgressLog(run_dir)
    progress.write("began", **began)
    try:
        yield progress
    except BaseException as error:
        # A disk that is full would otherwise hide what it led to.
        with suppress(OSError):
            progress.write("failed", reason=_reason(error))
        raise
    progress.write("finished")


def _reason(error: BaseException) -> str:
    if isinstance(error, OncofedError):
        return str(error)
    if not isinstance(error, Exception):
        return "interrupted"
    logging.getLogger("oncofed.server").exception("failed")
    return f"something unexpected ({type(error).__name__}); the server's output has it"


class ShownAndRecorded(StudyProgress):
    """Shows a study's progress and keeps it.

    Args:
        shown: on a terminal; closed with this.
        log: stays open, since how the study ends is written later.
    """

    def __init__(self, shown: StudyProgress, log: ProgressLog) -> None:
        self._shown, self._log = shown, log

    def take(self, event: Event) -> None:
        self._log.take(event)
        self._shown.take(event)

    def close(self) -> None:
        self._shown.close()


class ProgressReader:
    """Reads a growing file from where it stopped the last time."""

    def __init__(self, run_dir: Path) -> None:
        self._path = run_dir / FILE
        self._read = 0

    def skip(self) -> None:
        """Leaves out what is there already."""
        if self._path.exists():
            self._read = self._path.stat().st_size

    def new(self) -> Iterator[Event]:
        """The events since the last call. A line that is not whole yet, or was cut off by a crash, is left out."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._read)
            text = file.read()
        whole = text.rfind(b"\n") + 1
        self._read += whole
        for line in text[:whole].splitlines():
            with suppress(ValueError):
                yield Event.from_line(line)
