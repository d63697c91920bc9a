"""Sizes of effects by hand, and what the small-sample correction is for."""

import math

import numpy as np
import pytest

from server.statistics.effect import small_sample_factor, standardised_difference


def test_d_z_is_the_mean_over_the_standard_deviation_of_the_differences() -> None:
    own = standardised_difference([3, 5, 4, 9], [1, 4, 4, 4], counts="folds")
    differences = [2, 1, 0, 5]
    sd = math.sqrt(sum((d - 2) ** 2 for d in differences) / 3)
    assert own.d_z == pytest.approx(2 / sd)
    assert own.g_z == pytest.approx(2 / sd * math.gamma(1.5) / (math.sqrt(1.5) * math.gamma(1)))
    assert (own.n, own.counts, own.undefined) == (4, "folds", None)


def test_the_factor_is_near_its_usual_approximation() -> None:
    for n in (5, 15, 60):
        assert small_sample_factor(n) == pytest.approx(1 - 3 / (4 * (n - 1) - 1), abs=0.003)


def test_the_correction_takes_the_bias_of_few_pairs_away() -> None:
    # Differences of mean 1 and standard deviation 1: d_z is 1.
    sets = np.random.default_rng(1).normal(1, 1, size=(4000, 6))
    found = [standardised_difference(list(one), [0.0] * 6, counts="folds") for one in sets]
    assert np.mean([one.d_z for one in found]) > 1.15
    assert np.mean([one.g_z for one in found]) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize(
    ("a", "b", "reason"),
    [
        ([1.0], [0.0], "fewer than two"),
        ([1.0, 2.0], [0.0, 0.0], "fewer than three"),
        ([1.0, 2.0, 3.0], [0.0, 1.0, 2.0], "all differences are equal"),
    ],
)
def test_a_size_that_cannot_be_told_says_why(a: list[float], b: list[float], reason: str) -> None:
    own = standardised_difference(a, b, counts="folds")
    assert own.d_z is own.g_z is None
    assert own.undefined is not None
    assert own.undefined.startswith(reason)
