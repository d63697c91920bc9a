"""Looks at a run now and then, and tells whoever waits that a section of its page has changed."""

import json
import logging
import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from server.dashboard.part import Part
from server.dashboard.study import StudyView

log = logging.getLogger("oncofed.dashboard")

EVERY = 1.0
"""Seconds between two looks."""


@dataclass(frozen=True)
class Snapshot:
    """The page at one moment.

    Attributes:
        number: of the change, counted from 1.
        name: of the run.
        parts: its sections, in order.
    """

    number: int
    name: str
    parts: list[Part]

    def to_json(self) -> str:
        """The sections on one line, in order: ``anchor``, ``version`` and ``html`` of each."""
        return json.dumps([{"anchor": one.anchor, "version": one.version, "html": one.html} for one in self.parts])


class Feed:
    """Looks from entering to leaving, in a thread of its own.

    Args:
        view: of the run.
        every: seconds between two looks.
    """

    def __init__(self, view: StudyView, every: float) -> None:
        self._view, self._every = view, every
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._ended = False
        self._newest = Snapshot(0, view.name, [])
        self._problem = ""
        self._thread = threading.Thread(target=self._watch, name="dashboard", daemon=True)

    def __enter__(self) -> Self:
        self._look()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Looks once more, so that those who wait learn the end."""
        self._stopping.set()
        self._thread.join()
        self._look()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def newest(self) -> Snapshot:
        """As the run was when it was last looked at."""
        with self._changed:
            return self._newest

    def after(self, number: int, seconds: float) -> Snapshot | None:
        """The next snapshot after one that is known, waited for; None if none came in time or there will be none."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._newest.number > number, seconds)
            return self._newest if self._newest.number > number else None

    @property
    def ended(self) -> bool:
        """Whether no snapshot will follow the newest."""
        with self._changed:
            return self._ended

    def _watch(self) -> None:
        while not self._stopping.wait(self._every):
            self._look()

    def _look(self) -> None:
        try:
            parts = self._view.parts()
        except Exception as error:
            # A page that stands still is better than none: what is there now may be readable at the next look.
            if repr(error) != self._problem:
                self._problem = repr(error)
                log.exception("the run cannot be shown")
            return
        with self._changed:
            if parts != self._newest.parts:
                self._newest = Snapshot(self._newest.number + 1, self._view.name, parts)
                self._changed.notify_all()
