"""Holm's procedure by hand and by statsmodels, with undefined tests left out of the family."""

import math

import numpy as np
import pytest

from server.statistics.multiplicity import holm


def by_hand(probabilities: list[float]) -> list[float]:
    order = sorted(range(len(probabilities)), key=lambda i: probabilities[i])
    adjusted, highest = [0.0] * len(probabilities), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(probabilities) - rank) * probabilities[i]))
        adjusted[i] = highest
    return adjusted


@pytest.mark.parametrize("size", [1, 2, 6, 9])
def test_adjusted_probabilities_equal_those_by_hand(size: int) -> None:
    values = (np.random.default_rng(size).random(size) ** 3).tolist()
    own = holm(dict(enumerate(values)))
    assert [one.p for one in own.values() if one] == pytest.approx(by_hand(values), abs=1e-15)
    assert {one.family for one in own.values() if one} == {size}


def test_a_comparison_without_a_probability_is_no_member_of_the_family() -> None:
    own = holm({"a": 0.01, "b": None, "c": 0.04})
    assert own["b"] is None
    assert own["a"] is not None
    assert (own["a"].p, own["a"].family) == (pytest.approx(0.02), 2)
    assert list(own) == ["a", "b", "c"]


def test_nothing_to_adjust_is_no_error() -> None:
    assert holm({}) == {}
    assert holm({"a": None}) == {"a": None}


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan])
def test_what_is_no_probability_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="outside 0 to 1"):
        holm({"a": value})
