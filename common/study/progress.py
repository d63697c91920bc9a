"""How work tells where it is: one type of event, and whoever listens.

A study tells its steps through :class:`StudyProgress`, a node its supervisor (:mod:`client.node.events`), a long
preparation each finished piece. What is shown, written or counted of an event is its listener's matter.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

ASKED, ANSWERED = "asked", "answered"
"""What a site does when all is well: a display may show it, a list of lines leaves it out."""

ABSENT = "not connected"
"""Said of each site that a study waits for at its beginning; one sentence for all of them is said beside it."""

LOST = "its node was lost"
"""What is said of a site whose connection broke in the middle of its work begins so."""


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Event:
    """Something that happened.

    Attributes:
        name: what: a method of :class:`StudyProgress`, or a word that both sides of a file or pipe know.
        values: what belongs to it; plain values, as JSON has them.
        time: when, with its zone.

    >>> Event.from_line(Event("message", {"text": "done"}).to_line()).values
    {'text': 'done'}
    """

    name: str
    values: dict[str, Any] = field(default_factory=dict)
    time: datetime = field(default_factory=_now)

    def to_line(self, *, ascii_only: bool = True) -> str:
        """One JSON object without a line break: ``time`` (ISO 8601), ``event`` and the values."""
        line = {"time": self.time.isoformat(timespec="milliseconds"), "event": self.name, **self.values}
        return json.dumps(line, ensure_ascii=ascii_only)

    @classmethod
    def from_line(cls, line: str | bytes) -> "Event":
        """The event that :meth:`to_line` wrote.

        Raises:
            ValueError: for anything else.
        """
        try:
            values = json.loads(line)
            time, name = datetime.fromisoformat(values.pop("time")), values.pop("event")
        except (KeyError, AttributeError, TypeError, RecursionError) as error:
            raise ValueError("is no event") from error
        if not isinstance(name, str):
            raise ValueError("is no event")
        return cls(name, values, time)


Listener = Callable[[Event], None]
"""Is called with each event, in order, from one thread."""


def piece_done(done: int, total: int, name: str) -> Event:
    """Of a long piece of work: pieces done, pieces in all, and what the last one was, which is never shown."""
    return Event("piece", {"done": done, "total": total, "name": name})


class StudyProgress:
    """The steps of a study as events; a subclass takes them. This one shows nothing.

    A study is a list of phases (``"GAN cgan"``), a phase is a number of rounds, and within a round sites do things.
    Nothing that is shown may come from a single patient: names of sites, and means over a site, only.
    """

    def take(self, event: Event) -> None:
        """Shows or keeps an event."""

    def plan(self, phases: Sequence[tuple[str, int]]) -> None:
        """All phases of the study as (name, rounds), told once at the start: what the time left is counted from."""
        self.take(Event("plan", {"phases": [list(phase) for phase in phases]}))

    def phase(self, name: str, total: int) -> None:
        """A phase of ``total`` rounds begins, or is taken up again after an interruption."""
        self.take(Event("phase", {"name": name, "total": total}))

    def site(self, name: str, doing: str, *, at_work: bool = False) -> None:
        """A site started or finished something within the round.

        Args:
            name: of the site.
            doing: ``ASKED``, ``ANSWERED``, or a sentence for people, in which its own words stand in quotation marks.
            at_work: whether it is waited for still, after that sentence.
        """
        self.take(Event("site", {"name": name, "doing": doing, "at_work": at_work}))

    def advance(
        self,
        *,
        round: int,
        contributors: Sequence[str],
        losses: Mapping[str, float],
        scores: Mapping[str, float],
        seconds: float,
    ) -> None:
        """A round ended.

        Args:
            round: counted from 1 within the phase; a resumed phase begins with a higher number.
            contributors: the sites whose replies counted.
            losses: means over the contributors.
            scores: what the coordinator measured after the round; empty where it measured nothing.
            seconds: how long the round took, evaluation included.
        """
        values = {"round": round, "contributors": list(contributors), "losses": dict(losses), "scores": dict(scores)}
        self.take(Event("advance", {**values, "seconds": seconds}))

    def message(self, text: str) -> None:
        """One sentence for the person at the terminal."""
        self.take(Event("message", {"text": text}))

    def close(self) -> None:
        """The study ended, well or not; the terminal is left in order. May be called twice."""


NoProgress = StudyProgress
"""Shows nothing: for tests, for scripts and for a ServerApp that nobody watches."""
