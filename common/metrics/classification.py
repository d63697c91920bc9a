"""How well a classifier tells tumour slices: figures on slices, intervals over patients."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from common.metrics.bootstrap import Estimate, Floats, estimate, patient_weights
from common.metrics.calibration import brier_scores, calibration
from common.metrics.operating_point import SPECIFICITY, sensitivity_at_specificity
from common.results_classifier import ArmScores, Calibration, Confusion

THRESHOLD = 0.5
"""A slice counts as predicted positive from this probability on."""

METRICS = ("accuracy", "precision", "recall", "f1", "auc")
"""Figures that every arm has."""

FURTHER = ("sensitivity", "brier")
"""Figures with intervals that came later: older results hold none."""

GAINS = ("accuracy_gain", "auc_gain")
"""What every arm but the one of real slices has beside them."""


@dataclass(frozen=True)
class ClassificationScores:
    """A classifier on the slices of some test patients.

    Attributes:
        accuracy, precision, recall, f1, auc: each 0 to 1, on all slices, with intervals over patients. None where
            undefined: precision without a predicted positive, recall without a positive, F1 without either, AUC with
            one class only, everything without slices.
        true_positive, false_positive, true_negative, false_negative: slices at probability 0.5.
        patients, slices: how many were tested.
        min_cell: fewest patients for which counts and intervals are told to others.
    """

    accuracy: Estimate
    precision: Estimate
    recall: Estimate
    f1: Estimate
    auc: Estimate
    sensitivity: Estimate
    brier: Estimate
    specificity: float
    calibration: Calibration | None
    true_positive: int
    false_positive: int
    true_negative: int
    false_negative: int
    patients: int
    slices: int
    min_cell: int

    def summary(self) -> dict[str, tuple[float | None, float | None]]:
        """Metric -> (mean, standard error): what :func:`~common.metrics.bootstrap.mean_over_sites` takes."""
        return {name: (value.mean, value.standard_error) for name, value in self._estimates().items()}

    def confusion(self) -> Confusion:
        """The four counts."""
        return Confusion(
            true_positive=self.true_positive,
            false_positive=self.false_positive,
            true_negative=self.true_negative,
            false_negative=self.false_negative,
        )

    def arm_scores(self, *, steps: int | None = None, counts: bool = True) -> ArmScores:
        """The entry of a report; ``steps`` are the optimiser steps behind the classifier.

        The confusion counts, the numbers of patients and slices and the reliability curve, which is made of counts,
        are left out below ``min_cell`` patients, and if ``counts`` says that the site does not declare them.
        """
        shown = counts and self.patients >= self.min_cell
        told = self.calibration
        if told is not None and not shown:
            told = Calibration(error=told.error, bins=told.bins)
        figures = {name: value.interval() for name, value in self._estimates().items()}
        return ArmScores(
            accuracy=figures["accuracy"],
            precision=figures["precision"],
            recall=figures["recall"],
            f1=figures["f1"],
            auc=figures["auc"],
            sensitivity=figures["sensitivity"],
            brier=figures["brier"],
            specificity=self.specificity,
            calibration=told,
            patients=self.patients if shown else None,
            slices=self.slices if shown else None,
            confusion=self.confusion() if shown else None,
            steps=steps,
        )

    def _estimates(self) -> dict[str, Estimate]:
        return {name: getattr(self, name) for name in (*METRICS, *FURTHER)}


def classification_scores(
    truth: npt.ArrayLike,
    probability: npt.ArrayLike,
    patient: npt.ArrayLike,
    *,
    samples: int,
    seed: int,
    min_cell: int,
    specificity: float = SPECIFICITY,
) -> ClassificationScores:
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
    >>> scores.accuracy.mean, scores.precision.mean, scores.recall.mean, scores.auc.mean, scores.auc.low
    (0.75, 1.0, 0.5, 1.0, None)
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
        nothing = Estimate(None)
        return ClassificationScores(
            accuracy=nothing,
            precision=nothing,
            recall=nothing,
            f1=nothing,
            auc=nothing,
            sensitivity=nothing,
            brier=nothing,
            specificity=specificity,
            calibration=None,
            true_positive=0,
            false_positive=0,
            true_negative=0,
            false_negative=0,
            patients=0,
            slices=0,
            min_cell=min_cell,
        )

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
    estimates = {
        name: estimate(float(row[0]), row[1:], patients=patients, min_cell=min_cell) for name, row in values.items()
    }
    tp, fp, tn, fn = (int(n) for n in counts.sum(axis=0))
    return ClassificationScores(
        **estimates,
        specificity=specificity,
        calibration=calibration(positive, score, index, min_cell=min_cell),
        true_positive=tp,
        false_positive=fp,
        true_negative=tn,
        false_negative=fn,
        patients=patients,
        slices=len(score),
        min_cell=min_cell,
    )


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
