import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    brier_score_loss,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
    roc_curve,
)

from common.metrics.bootstrap import mean_over_sites, patient_weights
from common.metrics.classification import FIGURES, classification_scores
from common.metrics.gain import paired_gain
from common.results.classifier import ClassifierScores


def cohort(patients: int = 9, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    patient = np.repeat(np.arange(patients), random.integers(3, 9, patients))
    truth = random.random(len(patient)) < 0.4
    # Rounded, so that ties between positives and negatives occur.
    probability = np.round(np.clip(random.random(len(patient)) * 0.7 + truth * 0.3, 0, 1), 1)
    return truth, probability, patient


def scores(truth, probability, patient, **options) -> ClassifierScores:
    return classification_scores(truth, probability, patient, **{"samples": 300, "seed": 1, "min_cell": 5} | options)


def by_sklearn(truth: np.ndarray, probability: np.ndarray) -> dict[str, float]:
    predicted = probability >= 0.5
    return {
        "accuracy": accuracy_score(truth, predicted),
        "precision": precision_score(truth, predicted),
        "recall": recall_score(truth, predicted),
        "f1": f1_score(truth, predicted),
        "auc": roc_auc_score(truth, probability),
        "sensitivity": sensitivity_by_sklearn(truth, probability, 0.9),
        "brier": brier_score_loss(truth, probability),
    }


def sensitivity_by_sklearn(truth: np.ndarray, probability: np.ndarray, specificity: float) -> float:
    false_positive_rate, sensitivity, _ = roc_curve(truth, probability, drop_intermediate=False)
    return float(sensitivity[1 - false_positive_rate >= specificity - 1e-12].max())


def test_every_figure_equals_scikit_learns():
    truth, probability, patient = cohort()
    own = scores(truth, probability, patient)
    expected = by_sklearn(truth, probability)
    assert {name: own.value(name) for name in FIGURES} == pytest.approx(expected, abs=1e-12)


def test_intervals_equal_those_of_slices_repeated_patient_by_patient():
    truth, probability, patient = cohort()
    own = scores(truth, probability, patient, samples=50)
    drawn: dict[str, list[float]] = {name: [] for name in FIGURES}
    for weights in patient_weights(9, 50, seed=1):
        rows = np.concatenate([np.tile(np.flatnonzero(patient == p), int(w)) for p, w in enumerate(weights) if w])
        for name, value in by_sklearn(truth[rows], probability[rows]).items():
            drawn[name].append(value)
    for name in FIGURES:
        low, high = np.percentile(drawn[name], (2.5, 97.5))
        result = own[name]
        assert (result.low, result.high) == pytest.approx((low, high), abs=1e-12), name
        assert result.standard_error == pytest.approx(np.std(drawn[name], ddof=1), abs=1e-12)


def test_slices_of_one_patient_being_alike_widens_the_interval():
    random = np.random.default_rng(1)
    right = np.repeat(random.random(10) < 0.7, 20)
    truth = np.tile([True, False], 100)
    probability = np.where(truth == right, 0.9, 0.1)
    clustered = scores(truth, probability, np.repeat(np.arange(10), 20))["accuracy"]
    independent = scores(truth, probability, np.arange(200))["accuracy"]
    assert clustered.standard_error > 2 * independent.standard_error


def test_names_and_order_of_patients_do_not_matter():
    truth, probability, patient = cohort()
    names = np.array([f"p{i}" for i in range(9)])[patient]
    order = np.random.default_rng(0).permutation(len(truth))
    assert scores(truth, probability, patient)["auc"] == scores(truth[order], probability[order], names[order])["auc"]


def test_confusion_counts_are_of_slices_at_one_half():
    own = scores([1, 1, 0, 0, 0], [0.5, 0.4, 0.6, 0.1, 0.2], list("abcde"))
    assert own.confusion.model_dump() == {
        "true_positive": 1,
        "false_positive": 1,
        "true_negative": 2,
        "false_negative": 1,
    }
    assert (own.patients, own.slices) == (5, 5)


def test_undefined_figures_are_none_and_not_zero():
    only_negatives = scores([0] * 6, [0.1] * 6, range(6))
    assert only_negatives["accuracy"].value == 1
    assert only_negatives["precision"].value is None
    assert only_negatives["recall"].value is None
    assert only_negatives["f1"].value is None
    assert only_negatives["auc"].value is None
    assert only_negatives["sensitivity"].value is None
    assert only_negatives["brier"].value == pytest.approx(0.01)
    none_predicted = scores([0, 0, 0, 1, 1, 1], [0.1] * 6, range(6))
    assert none_predicted["precision"].value is None
    assert none_predicted["recall"].value == 0
    assert none_predicted["f1"].value == 0
    assert none_predicted["auc"].value == 0.5
    assert none_predicted["precision"].standard_error is None


def test_a_figure_that_hangs_on_one_patient_has_no_interval():
    truth = np.zeros(12, dtype=bool)
    truth[0] = True
    probability = np.where(truth, 0.9, 0.1)
    probability[1] = 0.95
    own = scores(truth, probability, np.arange(12), samples=1000)
    assert own["auc"].low is not None  # defined in about two thirds of the resamples
    assert own["auc"].low < own["auc"].value == pytest.approx(10 / 11)
    rare = scores(truth[:5], np.where(truth[:5], 0.9, 0.6), [0, 1, 1, 2, 2], min_cell=2)
    assert rare["recall"].value == 1
    assert rare["accuracy"].low is not None


def test_below_the_smallest_cell_means_stay_and_the_rest_is_withheld():
    truth, probability, patient = cohort(patients=4)
    own = scores(truth, probability, patient)
    assert own["accuracy"].value is not None
    assert own["accuracy"].low is own["accuracy"].standard_error is None
    assert own["sensitivity"].low is None
    assert own.reliability == []


def test_every_figure_says_what_it_rests_on():
    own = scores(*cohort())
    assert {one.patients for one in own.figures} == {own.patients} == {9}
    assert {one.n for one in own.figures} == {own.slices}


def test_no_slices_give_no_figures():
    own = scores([], [], [])
    assert own.patients == own.slices == 0
    assert own.get("calibration_error") is own.reliability is None
    assert all(one.value is None for one in own.figures)


@pytest.mark.parametrize(
    ("truth", "probability", "patient"),
    [([1, 0], [0.5], [0, 1]), ([1, 0], [0.5, np.nan], [0, 1]), ([1, 0], [0.5, 1.5], [0, 1]), ([1, 0], [0.1, 0.2], [0])],
)
def test_lengths_and_probabilities_are_checked(truth, probability, patient):
    with pytest.raises(ValueError, match=r"expected|probability"):
        scores(truth, probability, patient)


def test_one_patient_has_figures_and_no_interval_whatever_the_smallest_cell():
    one = classification_scores([0, 1, 1, 0], [0.2, 0.9, 0.4, 0.1], list("aaaa"), samples=50, seed=1, min_cell=1)
    assert one["accuracy"].value == 0.75
    assert (one["accuracy"].low, one["accuracy"].high, one["accuracy"].standard_error) == (None, None, None)
    assert (one["auc"].value, one["auc"].low) == (1.0, None)
    gain = paired_gain([0, 1], [0.2, 0.9], [0.8, 0.9], ["a", "a"], samples=50, seed=1, min_cell=1)
    assert (gain["accuracy"].value, gain["accuracy"].low) == (0.5, None)
    # Nor has the mean over sites one, if a site tests on one patient.
    two = classification_scores([0, 1, 1, 0], [0.2, 0.9, 0.4, 0.1], list("aabb"), samples=50, seed=1, min_cell=1)
    assert two["accuracy"].low is not None
    over = mean_over_sites([{"accuracy": (s["accuracy"].value, s["accuracy"].standard_error)} for s in (one, two)])[
        "accuracy"
    ]
    assert (over.value, over.low) == (0.75, None)


@pytest.mark.parametrize(
    ("truth", "probability", "patient"),
    [
        ([1, 0, 1, 0, 1, 0], [0.9, 0.1] * 3, [0, 0, 1, 1, 2, 2]),  # all told right
        ([1, 0, 0, 1, 0, 0], [0.9, 0.1, 0.6] * 2, [0, 0, 0, 1, 1, 1]),  # two thirds in each of two patients
    ],
)
def test_patients_who_are_all_told_alike_are_no_interval_without_width(truth, probability, patient):
    alike = classification_scores(truth, probability, patient, samples=200, seed=1, min_cell=2)
    assert alike["accuracy"].value in (1.0, pytest.approx(2 / 3))
    assert (alike["accuracy"].low, alike["accuracy"].high, alike["accuracy"].standard_error) == (None, None, None)
    gain = paired_gain(truth, probability, 1 - np.array(probability), patient, samples=200, seed=1, min_cell=2)
    assert (gain["accuracy"].value, gain["accuracy"].low) == (pytest.approx(2 * alike["accuracy"].value - 1), None)
    # One more patient of whom another share is told right, and there is one.
    varied = classification_scores([*truth, 1], [*probability, 0.2], [*patient, 9], samples=200, seed=1, min_cell=2)
    assert varied["accuracy"].low < varied["accuracy"].value < varied["accuracy"].high
