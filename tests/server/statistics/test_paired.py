"""The two tests agree with independent computations, and say why where they cannot be made."""

import math

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats

from common.results.statistics import PairedTest
from server.statistics.paired import corrected_resampled_t_test, paired_t_test

A = [0.84, 0.80, 0.79, 0.88, 0.85, 0.81, 0.90]
B = [0.80, 0.81, 0.75, 0.85, 0.80, 0.80, 0.83]


def test_the_plain_test_equals_scipys_on_the_differences() -> None:
    own = paired_t_test(A, B, counts="folds")
    differences = np.subtract(A, B)
    other = stats.ttest_1samp(differences, 0)
    assert (own.statistic, own.p) == pytest.approx((other.statistic, other.pvalue), rel=1e-12)
    assert (own.test, own.n, own.counts, own.df) == ("paired t-test", 7, "folds", 6)
    assert own.mean == pytest.approx(differences.mean())
    assert (own.low, own.high) == pytest.approx(tuple(other.confidence_interval(0.95)), rel=1e-12)


def test_the_corrected_test_equals_the_formula_by_hand() -> None:
    own = corrected_resampled_t_test(A, B, test_to_train=10 / 40, counts="run-folds")
    differences = [a - b for a, b in zip(A, B, strict=True)]
    mean = math.fsum(differences) / 7
    variance = math.fsum((d - mean) ** 2 for d in differences) / 6
    error = math.sqrt((1 / 7 + 10 / 40) * variance)
    assert own.statistic == pytest.approx(mean / error, rel=1e-12)
    # The two-sided tail as an incomplete beta function, which scipy's t distribution is not asked for.
    t = mean / error
    assert own.p == pytest.approx(_two_sided(t, 6), rel=1e-9)
    assert (own.test, own.n, own.df, own.test_to_train) == ("corrected resampled t-test", 7, 6, 0.25)


def _two_sided(t: float, df: int) -> float:
    from scipy.special import betainc

    return float(betainc(df / 2, 0.5, df / (df + t * t)))


def test_an_interval_leaves_out_zero_exactly_where_p_is_below_its_level() -> None:
    random = np.random.default_rng(1)
    seen = set()
    for _ in range(60):
        a, b = random.normal(0.02, 0.03, 8), random.normal(0, 0.03, 8)
        for test in (
            paired_t_test(a, b, counts="folds"),
            corrected_resampled_t_test(a, b, test_to_train=0.25, counts="folds"),
        ):
            assert test.p is not None
            assert test.low is not None
            assert test.high is not None
            assert (test.p < 0.05) == (not test.low <= 0 <= test.high)
            seen.add(test.p < 0.05)
    assert seen == {True, False}


def test_the_corrected_test_tends_to_the_plain_one_as_test_sets_shrink() -> None:
    plain = paired_t_test(A, B, counts="folds")
    corrected = corrected_resampled_t_test(A, B, test_to_train=1e-12, counts="folds")
    assert corrected.p == pytest.approx(plain.p, rel=1e-6)
    assert corrected.low == pytest.approx(plain.low, rel=1e-6)


def test_more_runs_of_the_same_folds_do_not_make_a_difference_certain() -> None:
    once = corrected_resampled_t_test(A, B, test_to_train=0.25, counts="run-folds")
    often = corrected_resampled_t_test(A * 100, B * 100, test_to_train=0.25, counts="run-folds")
    assert paired_t_test(A * 100, B * 100, counts="run-folds").p < 1e-50
    assert once.statistic is not None
    assert often.statistic is not None
    assert often.statistic < once.statistic * math.sqrt((1 / 7 + 0.25) / 0.25) * 1.1


@pytest.mark.parametrize(
    ("a", "b", "reason", "mean"),
    [
        ([], [], "fewer than two folds", None),
        ([0.9], [0.8], "fewer than two folds", 0.1),
        ([0.9, 0.8, 0.7], [0.8, 0.7, 0.6], "all differences are equal", 0.1),
        ([0.9, 0.9], [0.9, 0.9], "all differences are equal", 0.0),
    ],
)
def test_a_test_that_cannot_be_made_says_why(a: list[float], b: list[float], reason: str, mean: float | None) -> None:
    for test in (
        paired_t_test(a, b, counts="folds"),
        corrected_resampled_t_test(a, b, test_to_train=0.25, counts="folds"),
    ):
        assert test.undefined is not None
        assert test.undefined.startswith(reason)
        assert test.mean == (None if mean is None else pytest.approx(mean))
        assert test.p is test.low is test.high is test.statistic is test.df is None


def test_what_is_no_pair_or_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="as many in both"):
        paired_t_test([0.1, 0.2], [0.1], counts="folds")
    with pytest.raises(ValueError, match="not finite"):
        corrected_resampled_t_test([0.1, math.nan], [0.1, 0.2], test_to_train=0.25, counts="folds")
    for ratio in (0, -1, math.nan, math.inf):
        with pytest.raises(ValueError, match="ratio of test to training"):
            corrected_resampled_t_test(A, B, test_to_train=ratio, counts="folds")


def test_a_probability_without_its_test_and_n_is_no_record() -> None:
    with pytest.raises(ValidationError):
        PairedTest.model_validate({"p": 0.01})
    with pytest.raises(ValidationError, match="says why it has none"):
        PairedTest(test="paired t-test", n=5, counts="folds", mean=0.1)
    with pytest.raises(ValidationError, match="says why it has none"):
        PairedTest(test="paired t-test", n=5, counts="folds", mean=0.1, p=0.1, undefined="it rained")
