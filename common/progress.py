"""How a study tells a person where it is. The round loop calls these methods; what they show is decided elsewhere."""

from collections.abc import Mapping, Sequence
from typing import Protocol

ASKED, ANSWERED = "asked", "answered"
"""What a site does when all is well: a display may show it, a list of lines leaves it out."""

ABSENT = "not connected"
"""Said of each site that a study waits for at its beginning; one sentence for all of them is said beside it."""

LOST = "its node was lost"
"""What is said of a site whose connection broke in the middle of its work begins so."""


class StudyProgress(Protocol):
    """Told of every step of a study, in order, from one thread.

    A study is a list of phases (``"GAN cgan"``), a phase is a number of rounds, and within a round sites do things.
    Nothing that is shown may come from a single patient: names of sites, and means over a site, only.
    """

    def plan(self, phases: Sequence[tuple[str, int]]) -> None:
        """All phases of the study as (name, rounds), told once at the start: what the time left is counted from."""
        ...

    def phase(self, name: str, total: int) -> None:
        """A phase of ``total`` rounds begins, or is taken up again after an interruption."""
        ...

    def site(self, name: str, doing: str, *, at_work: bool = False) -> None:
        """A site started or finished something within the round.

        Args:
            name: of the site.
            doing: ``ASKED``, ``ANSWERED``, or a sentence for people, in which its own words stand in quotation marks.
            at_work: whether it is waited for still, after that sentence.
        """
        ...

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
        ...

    def message(self, text: str) -> None:
        """One sentence for the person at the terminal."""
        ...

    def close(self) -> None:
        """The study ended, well or not; the terminal is left in order. May be called twice."""
        ...


class NoProgress:
    """Shows nothing: for tests, for scripts and for a ServerApp that nobody watches."""

    def plan(self, phases: Sequence[tuple[str, int]]) -> None: ...

    def phase(self, name: str, total: int) -> None: ...

    def site(self, name: str, doing: str, *, at_work: bool = False) -> None: ...

    def advance(
        self,
        *,
        round: int,
        contributors: Sequence[str],
        losses: Mapping[str, float],
        scores: Mapping[str, float],
        seconds: float,
    ) -> None: ...

    def message(self, text: str) -> None: ...

    def close(self) -> None: ...
