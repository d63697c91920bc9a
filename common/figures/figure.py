"""A figure is never without what it was measured on, how sure it is and what it is to be read against."""

from collections.abc import Iterator
from typing import Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from common.figures.metric import Metric
from common.figures.record import Record
from common.figures.registry import METRICS, PARTS, REFERENCES

REAL_ONLY = "real_only"
"""The reference over which an arm's gains are."""

Key = tuple[str, str, str]
"""Metric, part, and what it is a difference from; the last two may be empty."""


class Figure(Record):
    """One measured value.

    Attributes:
        metric: key of the registry.
        part: of the slice, or which slices; empty for whole ones.
        against: the reference from which this is a paired difference; empty for the value itself.
        value: None where it is undefined or withheld.
        low, high: 95% interval; None where there is none.
        standard_error: behind the interval.
        n: how many images or slices it rests on; None where that is not declared.
        patients: how many patients it rests on; None likewise.
        left_out: slices of which it is undefined.
        references: the same metric of what it is to be read against, by key of
            :data:`~common.figures.registry.REFERENCES`; None where that is undefined.
        conditions: what it depends on beside the images, e.g. ``features``, ``specificity`` or ``bins``.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    metric: str
    part: str = ""
    against: str = ""
    value: float | None
    low: float | None = None
    high: float | None = None
    standard_error: float | None = Field(default=None, ge=0)
    n: int | None = Field(default=None, ge=0)
    patients: int | None = Field(default=None, ge=0)
    left_out: int | None = Field(default=None, ge=0)
    references: dict[str, float | None] = {}
    conditions: dict[str, str | int | float] = {}

    @property
    def of(self) -> Metric:
        """Its entry in the registry."""
        return METRICS[self.metric]

    @property
    def key(self) -> Key:
        """What tells it from the other figures of the same scores."""
        return self.metric, self.part, self.against

    @property
    def name(self) -> str:
        """Its exact name, e.g. ``FID`` or ``SSIM, lesion``."""
        name = str(self.conditions.get("name", self.of.title))
        return f"{name}, {PARTS[self.part]}" if self.part else name

    @property
    def column(self) -> str:
        """Its name in files and curves.

        >>> Figure(metric="ssim", part="lesion", against="biharmonic", value=0.1).column
        'lesion_ssim_over_biharmonic'
        """
        return self.named(self.key)

    @staticmethod
    def named(key: Key) -> str:
        """:attr:`column` of the figure with this key."""
        metric, part, against = key
        return "_".join(filter(None, (part, metric, against and f"over_{against}")))

    @field_validator("metric")
    @classmethod
    def _known(cls, key: str) -> str:
        if key not in METRICS:
            raise ValueError("is no metric that this release knows")
        return key

    @model_validator(mode="after")
    def _named(self) -> Self:
        if self.part not in PARTS or {*self.references, *filter(None, [self.against])} - REFERENCES.keys():
            raise ValueError("names a part or a reference that this release does not know")
        return self

    @model_validator(mode="after")
    def _within(self) -> Self:
        # Ends of an interval over several sites are made from their variances, and may reach beyond.
        if self.value is not None and not self.of.holds(self.value, difference=bool(self.against)):
            raise ValueError("is outside the metric's range")
        return self


class Scores(Record):
    """Figures that were measured together.

    Attributes:
        figures: each once.
        slices, patients: behind them; None where they are not declared.
    """

    figures: list[Figure]
    slices: int | None = Field(default=None, ge=0)
    patients: int | None = Field(default=None, ge=0)

    def __getitem__(self, key: str | tuple[str, ...]) -> Figure:
        """The figure of a metric, e.g. ``scores["frechet"]`` or ``scores["ssim", "lesion", "biharmonic"]``.

        Raises:
            KeyError: if it is not there.
        """
        found = self.get(key)
        if found is None:
            raise KeyError(key)
        return found

    def get(self, key: str | tuple[str, ...]) -> Figure | None:
        """The same; None if it is not there."""
        wanted = (key,) if isinstance(key, str) else key
        return next((one for one in self.figures if one.key == (*wanted, *[""] * (3 - len(wanted)))), None)

    def value(self, *key: str) -> float | None:
        """The value of a figure; None if it is not there, undefined or withheld."""
        found = self.get(key)
        return found.value if found is not None else None

    def values(self) -> Iterator[Figure]:
        """Figures that are no differences."""
        return (one for one in self.figures if not one.against)

    def gains(self) -> Iterator[Figure]:
        """Figures over the same classifier trained on real images only."""
        return (one for one in self.figures if one.against == REAL_ONLY)

    @field_validator("figures")
    @classmethod
    def _once(cls, figures: list[Figure]) -> list[Figure]:
        if len({one.key for one in figures}) < len(figures):
            raise ValueError("holds a figure twice")
        return figures


class ImageScores(Scores):
    """A generator on the reference set, in one round.

    Attributes:
        protocol: how it was compared (:class:`~common.training.trainer.EvaluationProtocol`).
        collapsed: more than one pair in ten of its images is strikingly alike
            (:func:`~common.metrics.diversity.has_collapsed`).
    """

    protocol: str
    collapsed: bool = False
