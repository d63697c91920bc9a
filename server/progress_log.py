"""A study's progress as a file: the ServerApp writes it, any number of commands read it, whichever started first.

One :class:`~common.study.progress.Event` a line, in ``progress.jsonl`` of the run's folder: those of
:class:`~common.study.progress.StudyProgress`, and ``began``, ``finished`` or ``failed``.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from common.study.progress import Event, StudyProgress
from common.system.private_files import make_private_folder

FILE = "progress.jsonl"


class ProgressLog(StudyProgress):
    """Writes what a study tells; a line is on its way to the disk before the study goes on.

    An end is written as what it was, ``finished`` or ``failed``.
    """

    def __init__(self, run_dir: Path) -> None:
        make_private_folder(run_dir)
        self._file = (run_dir / FILE).open("a", encoding="utf-8")

    def take(self, event: Event) -> None:
        self._file.write(f"{event.to_line()}\n")
        self._file.flush()

    def write(self, event: str, **values: Any) -> None:
        """Adds a line."""
        self.take(Event(event, values))


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
