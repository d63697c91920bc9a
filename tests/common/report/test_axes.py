"""Axes have round ticks that cover the data."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.report.axes import nice_ticks, tick_labels


@given(st.floats(-1e6, 1e6), st.floats(0, 1e6), st.integers(2, 8))
def test_ticks_are_evenly_spaced_and_cover_the_range(low: float, width: float, count: int) -> None:
    ticks = nice_ticks(low, low + width, count)
    step = ticks[1] - ticks[0]
    assert ticks[0] <= low + 1e-6 * step
    assert ticks[-1] >= low + width - 1e-6 * step
    assert all(math.isclose(b - a, step, rel_tol=1e-6) for a, b in pairwise(ticks))
    assert len(ticks) <= count + 3


def test_labels_have_the_decimals_that_tell_neighbours_apart() -> None:
    assert tick_labels([-0.5, 0.0, 0.5]) == ["\N{MINUS SIGN}0.5", "0.0", "0.5"]
    assert tick_labels([10, 20]) == ["10", "20"]


@pytest.mark.parametrize(("low", "high"), [(2.0, 1.0), (math.nan, 1.0), (0.0, math.inf)])
def test_an_impossible_range_is_refused(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="no axis"):
        nice_ticks(low, high)
