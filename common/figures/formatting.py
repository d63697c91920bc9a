"""How figures are written in both reports, so that one number never appears in two roundings."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

MISSING = "–"
"""Stands where there is no figure."""

_NARROW = "\N{NO-BREAK SPACE}"
_MINUS = "\N{MINUS SIGN}"


class Interval(Protocol):
    """A figure with its 95% interval, where it has one."""

    @property
    def value(self) -> float | None: ...

    @property
    def low(self) -> float | None: ...

    @property
    def high(self) -> float | None: ...


@dataclass(frozen=True)
class Scale:
    """One kind of figure: the factor it is shown with, its decimals and its unit.

    >>> PERCENT.text(0.8612).replace("\\N{NO-BREAK SPACE}", " ")
    '86.1 %'
    >>> DECIBEL.signed.number(-0.52)
    '\N{MINUS SIGN}0.5'
    """

    factor: float
    decimals: int
    unit: str = ""
    sign: bool = False

    @property
    def signed(self) -> "Scale":
        """The same figure as a difference, with ``+`` written out."""
        return Scale(self.factor, self.decimals, self.unit, sign=True)

    def number(self, value: float | None) -> str:
        """The figure without its unit; a dash for None and NaN."""
        if value is None or math.isnan(value):
            return MISSING
        text = f"{value * self.factor:{'+' if self.sign else ''}.{self.decimals}f}"
        # "-0.0" says nothing that "0.0" does not.
        if float(text) == 0:
            text = text.lstrip("+-")
        return text.replace("-", _MINUS)

    def text(self, value: float | None) -> str:
        """The figure with its unit."""
        number = self.number(value)
        return number if number == MISSING or not self.unit else f"{number}{_NARROW}{self.unit}"

    def bounds(self, interval: Interval | None) -> str:
        """``81.0 to 90.4``; empty if the interval has no bounds."""
        if interval is None or interval.value is None or interval.low is None or interval.high is None:
            return ""
        return f"{self.number(interval.low)} to {self.number(interval.high)}"

    def interval(self, interval: Interval | None) -> str:
        """Mean and 95% bounds in one line.

        >>> from common.metrics.bootstrap import Estimate
        >>> PERCENT.interval(Estimate(0.861, 0.81, 0.904)).replace("\\N{NO-BREAK SPACE}", " ")
        '86.1 % (81.0 to 90.4)'
        >>> AUC.interval(Estimate(0.9))
        '0.900 (no interval)'
        """
        if interval is None or interval.value is None:
            return MISSING
        return f"{self.text(interval.value)} ({self.bounds(interval) or 'no interval'})"


PERCENT = Scale(100, 1, "%")
AUC = Scale(1, 3)
SIMILARITY = Scale(1, 3)
DECIBEL = Scale(1, 1, "dB")
RATIO = Scale(1, 2)
POINTS = Scale(100, 1, "percentage points", sign=True)


def significant(value: float | None, digits: int = 3) -> str:
    """A figure without a natural unit (a loss, a Fréchet distance), to ``digits`` significant digits.

    >>> significant(0.012345), significant(1234.5), significant(12.0)
    ('0.0123', '1234', '12.0')
    """
    if value is None or math.isnan(value):
        return MISSING
    if value == 0:
        return "0"
    if math.isinf(value) or abs(value) < 1e-4:
        return f"{value:.{digits - 1}e}".replace("-", _MINUS)
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{decimals}f}".replace("-", _MINUS)


def duration(seconds: float | None) -> str:
    """Seconds as a person reads them.

    >>> duration(4.21).replace("\\N{NO-BREAK SPACE}", " "), duration(125).replace("\\N{NO-BREAK SPACE}", " ")
    ('4.2 s', '2 min 5 s')
    """
    if seconds is None:
        return MISSING
    if seconds < 99.95:
        return f"{seconds:.1f}{_NARROW}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}{_NARROW}h {minutes}{_NARROW}min"
    return f"{minutes}{_NARROW}min {rest}{_NARROW}s"


def declared(count: int | None) -> str:
    """A count that a site was free to keep to itself."""
    return "not declared" if count is None else str(count)


def moment(text: str) -> str:
    """A time stamp as a person reads it; a text that is none stays as it is.

    >>> moment("2000-01-31T07:43:14+00:00"), moment("yesterday")
    ('2000-01-31 07:43 UTC', 'yesterday')
    """
    try:
        return datetime.fromisoformat(text).strftime("%Y-%m-%d %H:%M %Z").strip()
    except ValueError:
        return text


def role_titles(roles: Iterable[str]) -> str:
    """What a site takes part in.

    >>> role_titles(["train", "evaluate"])
    'training and evaluation'
    """
    return listed({"train": "training", "evaluate": "evaluation"}.get(role, role) for role in roles)


def plural(count: int, noun: str, several: str | None = None) -> str:
    """
    >>> plural(1, "site"), plural(3, "site"), plural(2, "study", "studies")
    ('1 site', '3 sites', '2 studies')
    """
    return f"{count} {noun if count == 1 else several or noun + 's'}"


def listed(words: Iterable[str], last: str = "and") -> str:
    """
    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    *head, tail = list(words) or [""]
    return f"{', '.join(head)} {last} {tail}" if head else tail
