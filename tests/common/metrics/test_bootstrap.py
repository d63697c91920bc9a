import numpy as np
import pytest
from scipy import stats

from common.metrics.bootstrap import estimate, mean_over_sites, paired_difference, patient_weights


def test_weights_draw_each_patient_once_on_average():
    weights = patient_weights(8, 4000, seed=1)
    assert (weights.sum(axis=1) == 8).all()
    np.testing.assert_allclose(weights.mean(axis=0), 1, atol=0.07)
    np.testing.assert_allclose(weights.var(axis=0), 7 / 8, atol=0.1)


def test_the_paired_mean_weighs_patients_not_slices():
    result = paired_difference([1, 1, 1, 5], [0, 0, 0, 0], ["a", "a", "a", "b"], samples=200, seed=1)
    assert result.value == 3


def test_the_paired_interval_equals_scipys_bootstrap_over_patients():
    random = np.random.default_rng(0)
    patient = np.repeat(np.arange(15), 4)
    a = random.normal(size=60) + 0.5 + random.normal(size=15).repeat(4)
    b = random.normal(size=60) * 0.1
    own = paired_difference(a, b, patient, samples=8000, seed=1)
    means = (a - b).reshape(15, 4).mean(axis=1)
    expected = stats.bootstrap((means,), np.mean, n_resamples=8000, method="percentile", rng=1)
    assert own.low == pytest.approx(expected.confidence_interval.low, abs=0.03)
    assert own.high == pytest.approx(expected.confidence_interval.high, abs=0.03)
    assert own.standard_error == pytest.approx(expected.standard_error, rel=0.05)
    assert own.figure("psnr").low == own.low


def test_the_same_seed_gives_the_same_interval():
    random = np.random.default_rng(0)
    a, patient = random.normal(size=30), np.repeat(np.arange(10), 3)
    first, again, other = (paired_difference(a, 0 * a, patient, 500, seed) for seed in (3, 3, 4))
    assert first == again != other


@pytest.mark.parametrize(("patients", "min_cell"), [(1, 2), (1, 1), (4, 5)])
def test_too_few_patients_have_a_mean_but_no_interval(patients, min_cell):
    result = paired_difference(np.arange(patients) + 1.0, np.zeros(patients), np.arange(patients), 100, 1, min_cell)
    assert result.value is not None
    assert result.low is result.high is result.standard_error is None


def test_nothing_gives_nothing():
    assert paired_difference([], [], [], samples=10, seed=1).value is None


@pytest.mark.parametrize(("a", "patient"), [([1.0, np.inf], [0, 1]), ([1.0, np.nan], [0, 1]), ([1.0, 2.0], [0])])
def test_values_that_cannot_be_averaged_are_refused(a, patient):
    with pytest.raises(ValueError, match=r"finite|expected"):
        paired_difference(a, [0.0, 0.0], patient, samples=10, seed=1)


def test_undefined_resamples_are_left_out_until_they_are_most():
    some = np.array([np.nan, 1.0, 2.0, 3.0])
    behind = {"patients": 3, "min_cell": 1}
    assert estimate(2.0, some, **behind).low == pytest.approx(1.05)
    most = np.array([np.nan, np.nan, np.nan, 3.0])
    assert estimate(2.0, most, **behind).low is None
    assert estimate(float("nan"), some, **behind).value is None


def test_sites_count_alike_and_their_errors_add_as_independent_ones():
    result = mean_over_sites([{"auc": (0.8, 0.03), "f1": (0.5, 0.1)}, {"auc": (0.9, 0.04), "f1": (0.7, 0.1)}])
    assert result["auc"].value == pytest.approx(0.85)
    assert result["auc"].standard_error == pytest.approx(0.025)
    low, high = stats.norm.interval(0.95, loc=0.85, scale=0.025)
    assert (result["auc"].low, result["auc"].high) == pytest.approx((low, high))
    assert result["f1"].value == pytest.approx(0.6)


def test_a_site_without_a_figure_is_left_out_and_one_without_an_error_takes_the_interval():
    result = mean_over_sites([{"auc": (0.8, 0.03)}, {"auc": (None, None)}, {"f1": (0.4, None)}])
    assert result["auc"].value == pytest.approx(0.8)
    assert result["auc"].standard_error == pytest.approx(0.03)
    assert result["f1"].value == pytest.approx(0.4)
    assert result["f1"].low is None
    assert mean_over_sites([{"auc": (None, None)}])["auc"].value is None
    assert mean_over_sites([]) == {}
