"""Ticks at round numbers for the small charts."""

import math
from collections.abc import Sequence
from itertools import pairwise


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Ticks at steps of 1, 2 or 5 times a power of ten that cover ``[low, high]``.

    Args:
        low, high: the range of the data; equal values are widened.
        count: about how many ticks.

    Returns:
        Ascending ticks; the first is <= ``low``, the last >= ``high``.

    >>> nice_ticks(0.72, 0.91)
    [0.7, 0.75, 0.8, 0.85, 0.9, 0.95]
    """
    if not (math.isfinite(low) and math.isfinite(high)) or low > high:
        raise ValueError(f"no axis from {low} to {high}")
    if high - low < 1e-9 * max(1.0, abs(low)):
        margin = abs(low) * 0.1 or 1.0
        low, high = low - margin, high + margin
    raw = (high - low) / max(1, count - 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    digits = max(0, -math.floor(math.log10(step)) + 1)
    return [round(i * step, digits) for i in range(first, last + 1)]


def tick_labels(ticks: Sequence[float]) -> list[str]:
    """The ticks with as many decimals as the finest of them needs.

    >>> tick_labels([0.7, 0.75])
    ['0.70', '0.75']
    """
    step = min((b - a for a, b in pairwise(ticks)), default=1.0)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return [f"{tick:.{decimals}f}".replace("-", "\N{MINUS SIGN}") for tick in ticks]
