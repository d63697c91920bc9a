"""What is known of a metric before anything is measured: its name, range, direction and how it is written."""

from dataclasses import dataclass
from typing import Literal

from common.figures.formatting import POINTS, Scale, significant

Kind = Literal["image", "set", "classifier"]
"""What a metric is measured on: images one by one, images as a set, or a classifier's predictions."""


@dataclass(frozen=True)
class Metric:
    """One entry of the registry.

    Attributes:
        key: its name in records and files.
        title: its name for readers; a figure may carry a more exact one, e.g. ``FID``.
        kind: what it is measured on.
        meaning: one or two sentences: what it is, and what it is not.
        range: least and largest value; None where there is no bound.
        higher_is_better: None where neither direction is.
        scale: factor, decimals and unit; None: three significant digits.
        leaves: whether a site may tell it to the coordinator.
    """

    key: str
    title: str
    kind: Kind
    meaning: str
    range: tuple[float | None, float | None] = (None, None)
    higher_is_better: bool | None = True
    scale: Scale | None = None
    leaves: bool = False

    @property
    def unit(self) -> str:
        """Empty for a pure number."""
        return self.scale.unit if self.scale else ""

    def number(self, value: float | None) -> str:
        """A value without its unit; a dash for None."""
        return self.scale.number(value) if self.scale else significant(value)

    def text(self, value: float | None) -> str:
        """A value with its unit."""
        return self.scale.text(value) if self.scale else significant(value)

    @property
    def differences(self) -> Scale:
        """How a difference of two values is written: with its sign, and shares in percentage points."""
        if self.scale is None:
            return Scale(1, 3, sign=True)
        return POINTS if self.unit == "%" else self.scale.signed

    def holds(self, value: float, *, difference: bool = False) -> bool:
        """Whether ``value`` is within the range, or a difference of two values that are; rounding is forgiven."""
        low, high = self.range
        if difference:
            low, high = (None, None) if low is None or high is None else (low - high, high - low)
        return (low is None or value >= low - 1e-6) and (high is None or value <= high + 1e-6)
