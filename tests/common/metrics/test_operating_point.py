"""Sensitivity at a fixed specificity equals that of scikit-learn's ROC curve, resample by resample."""

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from common.metrics import operating_point
from common.metrics.bootstrap import patient_weights
from common.metrics.operating_point import sensitivity_at_specificity


def cohort(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    index = np.repeat(np.arange(12), random.integers(2, 9, 12))
    positive = random.random(len(index)) < 0.4
    # Rounded, so that the threshold is often shared by several slices.
    probability = np.round(np.clip(random.random(len(index)) * 0.8 + 0.2 * positive, 0, 1), 1)
    return positive, probability, index


@pytest.mark.parametrize("specificity", [0.5, 0.8, 0.9, 1.0])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_resample_equals_scikit_learns(specificity: float, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    positive, probability, index = cohort(seed)
    weights = np.concatenate([np.ones((1, 12)), patient_weights(12, 40, seed)])
    # Small enough for several rounds of resamples.
    monkeypatch.setattr(operating_point, "_CELLS", 100)
    own = sensitivity_at_specificity(positive, probability, index, weights, specificity=specificity)
    for value, row in zip(own, weights, strict=True):
        chosen = np.repeat(np.arange(len(index)), row[index].astype(int))
        rate, sensitivity, _ = roc_curve(positive[chosen], probability[chosen], drop_intermediate=False)
        assert value == pytest.approx(sensitivity[1 - rate >= specificity - 1e-12].max(), abs=1e-12)


def test_a_negative_at_the_highest_probability_leaves_no_threshold() -> None:
    found = sensitivity_at_specificity(
        np.array([False, True]), np.array([0.9, 0.9]), np.array([0, 1]), np.ones((1, 2)), specificity=1.0
    )
    assert found.tolist() == [0.0]


def test_nine_of_ten_negatives_below_are_a_specificity_of_nine_tenths() -> None:
    positive = np.array([False] * 10 + [True])
    probability = np.array([*np.linspace(0, 0.45, 10), 0.44])
    found = sensitivity_at_specificity(positive, probability, np.arange(11), np.ones((1, 11)))
    assert found.tolist() == [1.0]


def test_one_class_alone_has_no_sensitivity() -> None:
    for truth in (True, False):
        found = sensitivity_at_specificity(np.array([truth]), np.array([0.5]), np.array([0]), np.ones((1, 1)))
        assert np.isnan(found).all()


@pytest.mark.parametrize("specificity", [0.0, 1.1, float("nan")])
def test_a_specificity_out_of_range_is_refused(specificity: float) -> None:
    with pytest.raises(ValueError, match="specificity"):
        sensitivity_at_specificity(
            np.array([True]), np.array([0.5]), np.array([0]), np.ones((1, 1)), specificity=specificity
        )
