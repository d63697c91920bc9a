"""Brier score, calibration error and reliability curve against scikit-learn, and what a curve withholds."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from common.metrics.calibration import brier_scores, calibration


def cohort(patients: int = 40, slices: int = 10, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    patient = np.repeat(np.arange(patients), slices)
    probability = random.random(len(patient))
    return random.random(len(patient)) < probability**2, probability, patient


def test_each_weighting_of_the_patients_gives_scikit_learns_brier_score() -> None:
    truth, probability, patient = cohort(patients=6)
    weights = np.array([[1, 1, 1, 1, 1, 1], [3, 0, 0, 2, 1, 0]], dtype=float)
    own = brier_scores(truth, probability, patient, weights)
    expected = [brier_score_loss(truth, probability, sample_weight=row[patient]) for row in weights]
    assert own == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("bins", [1, 4, 10])
@pytest.mark.parametrize("rounded", [True, False])
def test_the_curve_is_scikit_learns(bins: int, rounded: bool) -> None:
    truth, probability, patient = cohort()
    probability = np.round(probability, 1) if rounded else probability
    own = calibration(truth, probability, patient, min_cell=1, bins=bins)
    assert own is not None
    assert own.curve is not None
    positive, predicted = calibration_curve(truth, probability, n_bins=bins, strategy="quantile")
    assert [one.positive for one in own.curve] == pytest.approx(positive, abs=1e-12)
    assert [one.predicted for one in own.curve] == pytest.approx(predicted, abs=1e-12)
    assert sum(one.slices for one in own.curve) == len(truth)
    error = sum(one.slices * abs(one.positive - one.predicted) for one in own.curve) / len(truth)
    assert own.error == pytest.approx(error, abs=1e-12)
    assert own.bins == bins


def test_bins_hold_equally_many_slices() -> None:
    own = calibration(*cohort(), min_cell=1)
    assert own is not None
    assert own.curve is not None
    assert [one.slices for one in own.curve] == [40] * 10


def test_probabilities_that_are_right_have_less_error_than_wrong_ones() -> None:
    random = np.random.default_rng(3)
    probability, patient = random.random(20_000), np.arange(20_000)
    truth = random.random(20_000) < probability
    right = calibration(truth, probability, patient, min_cell=5)
    wrong = calibration(truth, probability**3, patient, min_cell=5)
    assert right is not None
    assert wrong is not None
    assert right.error < 0.02
    # The mean of p - p³ over 0 to 1.
    assert wrong.error == pytest.approx(0.25, abs=0.02)


def test_a_bin_of_few_patients_is_withheld_and_cannot_be_subtracted_out() -> None:
    # The lowest ten slices are of two patients, the others of one each.
    patient = np.array([0] * 5 + [1] * 5 + list(range(2, 92)))
    probability = np.linspace(0, 1, 100)
    truth = probability > 0.5
    own = calibration(truth, probability, patient, min_cell=5)
    assert own is not None
    assert own.curve is not None
    # One bin is too small; beside it another one is withheld, so that the rest is of five patients or more.
    assert own.withheld == 2
    assert len(own.curve) == 8
    assert min(one.patients for one in own.curve) >= 5
    rest = 92 - sum(one.patients for one in own.curve)
    assert rest >= 5
    # The error is of all slices nevertheless.
    everything = calibration(truth, probability, patient, min_cell=1)
    assert everything is not None
    assert own.error == everything.error


def test_several_small_bins_hide_one_another() -> None:
    # Three bins of two patients each: six together, so that no sound bin need go.
    patient = np.array([*np.repeat(np.arange(6), 5), *range(6, 76)])
    own = calibration(np.zeros(100), np.linspace(0, 1, 100), patient, min_cell=5)
    assert own is not None
    assert own.withheld == 3


def test_with_few_patients_in_all_nothing_of_the_curve_is_told() -> None:
    own = calibration(*cohort(patients=3), min_cell=5)
    assert own is not None
    assert own.curve == []
    assert own.withheld == 10


def test_no_slices_have_no_calibration_and_odd_input_is_refused() -> None:
    assert calibration([], [], [], min_cell=5) is None
    with pytest.raises(ValueError, match="equal lengths"):
        calibration([1], [0.5, 0.5], [0], min_cell=5)
    with pytest.raises(ValueError, match="a bin or more"):
        calibration([1], [0.5], [0], min_cell=5, bins=0)
