"""A study's progress as a file: the ServerApp writes it, any number of commands read it, whichever started first.

One JSON object a line, in ``progress.jsonl`` of the run's folder: ``time`` (ISO 8601, UTC), ``event`` and what belongs
to it. An event is a call of :class:`~common.progress.StudyProgress`, or ``began``, ``finished`` or ``failed``.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from common.private_files import make_private_folder
from common.progress import StudyProgress

FILE = "progress.jsonl"


@dataclass(frozen=True)
class Event:
    """One line of the file.

    Attributes:
        time: when.
        name: what happened.
        values: what belongs to it.
    """

    time: datetime
    name: str
    values: dict[str, Any] = field(default_factory=dict)


class ProgressLog:
    """Writes what a study tells; a line is on its way to the disk before the study goes on."""

    def __init__(self, run_dir: Path) -> None:
        make_private_folder(run_dir)
        self._file = (run_dir / FILE).open("a", encoding="utf-8")

    def plan(self, phases: Sequence[tuple[str, int]]) -> None:
        self.write("plan", phases=[list(phase) for phase in phases])

    def phase(self, name: str, total: int) -> None:
        self.write("phase", name=name, total=total)

    def site(self, name: str, doing: str, *, at_work: bool = False) -> None:
        self.write("site", name=name, doing=doing, at_work=at_work)

    def advance(
        self,
        *,
        round: int,
        contributors: Sequence[str],
        losses: Mapping[str, float],
        scores: Mapping[str, float],
        seconds: float,
    ) -> None:
        self.write(
            "advance",
            round=round,
            contributors=list(contributors),
            losses=dict(losses),
            scores=dict(scores),
            seconds=seconds,
        )

    def message(self, text: str) -> None:
        self.write("message", text=text)

    def close(self) -> None:
        """Nothing: an end is written as what it was, ``finished`` or ``failed``."""

    def write(self, event: str, **values: Any) -> None:
        """Adds a line."""
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._file.write(json.dumps({"time": time, "event": event, **values}) + "\n")
        self._file.flush()


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
            try:
                values = json.loads(line)
                yield Event(datetime.fromisoformat(values.pop("time")), values.pop("event"), values)
            except (ValueError, KeyError, AttributeError, TypeError):
                continue


def show(event: Event, progress: StudyProgress) -> None:
    """Tells ``progress`` of an event as the study told it."""
    values = event.values
    match event.name:
        case "plan":
            progress.plan([(name, total) for name, total in values["phases"]])
        case "phase" | "site" | "advance" | "message":
            getattr(progress, event.name)(**values)
