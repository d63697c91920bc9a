"""How well a classifier tells tumour slices: figures on slices, intervals over patients."""

import numpy as np
import numpy.typing as npt

from common.figures.figure import Figure
from common.metrics.bootstrap import Estimate, Floats, estimate, patient_weights
from common.metrics.calibration import brier_scores, calibration
from common.metrics.operating_point import SPECIFICITY, sensitivity_at_specificity
from common.results.classifier import ClassifierScores, Confusion

THRESHOLD = 0.5
"""A slice counts as predicted positive from this probability on."""

FIGURES = ("accuracy", "precision", "recall", "f1", "auc", "sensitivity", "brier")
"""Metrics with an interval, in their order."""


def classification_scores(
    truth: npt.ArrayLike,
    probability: npt.ArrayLike,
    patient: npt.ArrayLike,
    *,
    samples: int,
    seed: int,
    min_cell: int,
    specificity: float = SPECIFICITY,
) -> ClassifierScores:
    """Accuracy, precision, recall, F1, AUC, sensitivity at a fixed specificity and Brier score of slice probabilities,
    with a percentile bootstrap over patients, and how they are calibrated.

    Each resample draws patients with replacement and takes all slices of a patient as often as it was drawn. Nothing
    is drawn slice by slice: confusion counts and concordant pairs are summed once a patient (and pair of patients),
    and a resample is a weighting of them, so that a thousand of them cost a few matrix products and are exact.

    Args:
        truth: (N,) 1 or True for a tumour slice.
        probability: (N,) of being one, 0 to 1.
        patient: (N,) whose slice it is, any sortable names.
        samples: resamples.
        seed: the same seed gives the same intervals.
        min_cell: below this number of patients, and for a single one, low, high and standard error are None.
        specificity: that at which sensitivity is told.

    Raises:
        ValueError: if lengths differ, or a probability or the specificity is NaN or out of range.

    Source: Efron and Tibshirani 1993 (percentile bootstrap, resampling of clusters); Hanley and McNeil 1982 (AUC as
    the share of concordant pairs, ties one half).

    >>> scores = classification_scores([0, 1, 1, 0], [0.2, 0.9, 0.4, 0.1], list("aabb"), samples=50, seed=1, min_cell=5)
    >>> [scores.value(metric) for metric in ("accuracy", "precision", "recall", "auc")], scores["auc"].low
    ([0.75, 1.0, 0.5, 1.0], None)
    """
    positive = np.asarray(truth).astype(bool)
    score = np.asarray(probability, dtype=np.float64)
    names = np.asarray(patient)
    if positive.ndim != 1 or positive.shape != score.shape or score.shape != names.shape:
        raise ValueError(f"expected three equal lengths, got {positive.shape}, {score.shape} and {names.shape}")
    if not ((score >= 0) & (score <= 1)).all():
        raise ValueError("a probability is NaN or outside 0 to 1")
    _, index = np.unique(names, return_inverse=True)
    patients = int(index.max()) + 1 if len(index) else 0
    if not patients:
        nothing = [Figure(metric=metric, value=None, n=0, patients=0) for metric in FIGURES]
        return ClassifierScores(figures=nothing, slices=0, patients=0, confusion=Confusion.of(0, 0, 0, 0))

    predicted = score >= THRESHOLD
    cells = [predicted & positive, predicted & ~positive, ~predicted & ~positive, ~predicted & positive]
    counts = np.stack([np.bincount(index, weights=cell, minlength=patients) for cell in cells], axis=1)
    # The first row is all the data as it is; the others are resamples.
    weights = np.concatenate([np.ones((1, patients)), patient_weights(patients, samples, seed)])
    values = _confusion_metrics(weights @ counts) | {
        "auc": auc_of_weightings(positive, score, index, weights),
        "sensitivity": sensitivity_at_specificity(positive, score, index, weights, specificity=specificity),
        "brier": brier_scores(positive, score, index, weights),
    }
    conditions = {"sensitivity": {"specificity": specificity}}
    figures = [
        estimate(float(values[metric][0]), values[metric][1:], patients=patients, min_cell=min_cell).figure(
            metric, n=len(score), patients=patients, conditions=conditions.get(metric, {})
        )
        for metric in FIGURES
    ]
    calibrated = calibration(positive, score, index, min_cell=min_cell)
    if calibrated is not None:
        error = Estimate(calibrated.error)
        figures.append(
            error.figure("calibration_error", n=len(score), patients=patients, conditions={"bins": calibrated.bins})
        )
    return ClassifierScores(
        figures=figures,
        slices=len(score),
        patients=patients,
        confusion=Confusion.of(*(int(n) for n in counts.sum(axis=0))),
        reliability=calibrated.curve if calibrated else None,
        withheld=calibrated.withheld if calibrated else 0,
    )


def decisive_patients(truth: npt.ArrayLike, probability: npt.ArrayLike, patient: npt.ArrayLike) -> dict[str, int]:
    """By metric, how many patients decide it, where these are not all that were tested.

    Who chooses the classifier could have it call the slices of one patient alone: precision is then that patient's own.

    >>> decisive_patients([1, 0, 0], [0.9, 0.2, 0.7], ["a", "a", "b"])
    {'precision': 2, 'recall': 1, 'f1': 1, 'sensitivity': 1, 'auc': 1}
    """
    positive, names = np.asarray(truth).astype(bool), np.asarray(patient)

    def patients(slices: npt.NDArray[np.bool_]) -> int:
        return len(np.unique(names[slices]))

    tumour, healthy = patients(positive), patients(~positive)
    called = patients(np.asarray(probability) >= THRESHOLD)
    return {
        "precision": called,
        "recall": tumour,
        "f1": min(tumour, called),
        "sensitivity": tumour,
        "auc": min(tumour, healthy),
    }


def _confusion_metrics(counts: Floats) -> dict[str, Floats]:
    """Each metric (S,) from counts (S, 4) of true and false positives, true and false negatives; NaN: undefined."""
    tp, fp, tn, fn = counts.T
    with np.errstate(invalid="ignore"):
        return {
            "accuracy": (tp + tn) / (tp + fp + tn + fn),
            "precision": tp / (tp + fp),
            "recall": tp / (tp + fn),
            "f1": 2 * tp / (2 * tp + fp + fn),
        }


def _concordance(positive: npt.NDArray[np.bool_], score: Floats, index: npt.NDArray[np.int64], patients: int) -> Floats:
    """(P, P): for patients p and q, how many pairs of a positive slice of p and a negative one of q are in order,
    ties counting one half."""
    positives, owner = score[positive], index[positive]
    table = np.zeros((patients, patients))
    for q in range(patients):
        negatives = np.sort(score[~positive & (index == q)])
        below = np.searchsorted(negatives, positives, "left") + np.searchsorted(negatives, positives, "right")
        table[:, q] = np.bincount(owner, weights=below / 2, minlength=patients)
    return table


def auc_of_weightings(
    positive: npt.NDArray[np.bool_], score: Floats, index: npt.NDArray[np.int64], weights: Floats
) -> Floats:
    """(S,) area under the ROC curve of each weighting (S, P) of the patients; NaN without both classes.

    Args:
        positive: (N,) class of each slice.
        score: (N,) its probability.
        index: (N,) whose it is, 0 to P - 1.
        weights: how often each patient counts.
    """
    patients = weights.shape[1]
    concordant = _concordance(positive, score, index, patients)
    positives = weights @ np.bincount(index, weights=positive, minlength=patients)
    negatives = weights @ np.bincount(index, weights=~positive, minlength=patients)
    with np.errstate(invalid="ignore"):
        area: Floats = ((weights @ concordant) * weights).sum(axis=1) / (positives * negatives)
    return area
