"""The one shape of every kind of score in the report."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from common.report.charts import Series
from common.report.formatting import DECIBEL, Scale, significant
from common.report.tables import Cell, Table, number
from common.results import Scores
from common.results_classifier import Interval

S = TypeVar("S", bound=Scores)
"""Scores of a round."""

F = TypeVar("F", bound=Scores)
"""Scores of the chosen round on the final part."""

Rounds = Sequence[tuple[int, S]]
"""The scores of one subject with their round's number."""


@dataclass(frozen=True)
class Panel:
    """One chart over the rounds: its title, its lines, and how a value is written."""

    title: str
    series: Sequence[Series]
    written: Callable[[float], str]


@dataclass(frozen=True)
class Column(Generic[S]):
    """One column of the table of rounds, under an upper heading that neighbours share."""

    group: str
    title: str
    cell: Callable[[S], Cell]


def figure_column(group: str, title: str, scale: Scale, key: str, part: str = "") -> Column[Any]:
    """A column of one figure by its name, or by its name in a part that scores may lack."""

    def cell(scores: Scores) -> Cell:
        holder = getattr(scores, part) if part else scores
        return number(None if holder is None else scale.number(getattr(holder, key)))

    return Column(group, title, cell)


class Kind(ABC, Generic[S, F]):
    """How one kind of score is named, drawn and put into words.

    Attributes:
        title: what such a generator does, after its name and a colon.
        about: sentences under that title.
        similarity: whose SSIM and PSNR :meth:`similarity_of` gives, as a phrase.
        lead: first words of the sentence in the answer.
        beside: in the table of rounds, what the columns to compare with are.
    """

    title: ClassVar[str]
    about: ClassVar[str]
    similarity: ClassVar[str]
    lead: ClassVar[str]
    beside: ClassVar[str]

    @abstractmethod
    def similarity_of(self, scores: S | F) -> tuple[float, float]:
        """The SSIM and PSNR (dB) that this kind is summarised by."""

    @abstractmethod
    def panels(self, rounds: Rounds[S]) -> list[Panel]:
        """Charts over the rounds, the telling ones first; ``rounds`` is not empty."""

    @abstractmethod
    def columns(self) -> Sequence[Column[S]]:
        """Columns of the table of rounds, without the Fréchet distance's."""

    @abstractmethod
    def final_table(self, finals: Mapping[str, F], which: str) -> Table:
        """Final scores by subject; ``which`` names the round."""

    @abstractmethod
    def clause(self, which: str, subject: str, final: F) -> str:
        """What the round ``which`` did on the final part of one subject."""

    @abstractmethod
    def in_short(self, which: str, finals: Mapping[str, F]) -> str:
        """The same of many subjects, in one clause."""

    @abstractmethod
    def closing(self, final: F) -> str:
        """The telling figure and its floor, for the last lines on the terminal."""

    def remarks(self, subject: str, rounds: Rounds[S], final: F | None) -> list[str]:
        """What a reader must know of this subject before reading on."""
        return []

    def distances_beside(self, scores: S | F) -> list[tuple[str, float]]:
        """Further Fréchet distances that the generated images' is compared with."""
        return []


def frechet_panel(rounds: Rounds[S], *beside: tuple[str, Callable[[S], float]]) -> Panel:
    """The Fréchet distance with its floor and, dotted, what else it is to be read against."""
    first = rounds[0][1].frechet
    n = sorted({scores.frechet.n for _, scores in rounds})
    return Panel(
        f"{first.name}, n = {' to '.join(map(str, n[:: max(1, len(n) - 1)]))}",
        [
            Series("generated", [(r, scores.frechet.value) for r, scores in rounds]),
            Series("real", [(r, scores.frechet.floor) for r, scores in rounds], floor=True),
            *(Series(name, [(r, value(scores)) for r, scores in rounds], floor=True) for name, value in beside),
        ],
        significant,
    )


def gain_in_words(gain: Interval, against: str) -> str:
    """A gain with its interval; it is claimed only if the interval lies above zero.

    >>> gain_in_words(Interval(mean=1.0, low=0.5, high=1.5), "copying").replace("\\N{NO-BREAK SPACE}", " ")
    '+1.0 dB (+0.5 to +1.5) above copying, an interval above zero'
    """
    if gain.mean is None or gain.low is None or gain.high is None:
        return "no interval could be computed for its gain"
    figure = DECIBEL.signed.interval(gain)
    if gain.low > 0:
        return f"{figure} above {against}, an interval above zero"
    if gain.high < 0:
        return f"{figure} against {against}, an interval below zero"
    return f"{figure} against {against}, an interval that includes zero, so no gain is shown"


def at_subject(subject: str, part: str, finals: Mapping[str, object]) -> str:
    """The heading of a row: the subject only where there are several."""
    return f"{subject}: {part}" if len(finals) > 1 else part


def counts(scores: Scores) -> list[Cell]:
    """Cells under ``slices`` and ``patients``."""
    return [number(scores.slices), number(scores.patients)]


def blank(count: int) -> list[Cell]:
    """Cells where a figure has no meaning."""
    return [Cell("", kind="number")] * count
