"""Whether a probability of 0.7 is right seven times in ten: Brier score, calibration error, reliability curve."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from common.metrics.bootstrap import Floats
from common.results.classifier import ReliabilityBin

BINS = 10
"""Bins of equally many slices, from the lowest to the highest probability."""


@dataclass(frozen=True)
class Calibration:
    """How far probabilities can be taken at their word.

    Attributes:
        error: expected calibration error, 0 to 1.
        bins: of equally many slices, over which it is.
        curve: bins from the lowest to the highest probability, without the withheld ones.
        withheld: how many bins too few patients stand behind.
    """

    error: float
    bins: int
    curve: list[ReliabilityBin]
    withheld: int


def brier_scores(
    positive: npt.NDArray[np.bool_], probability: Floats, index: npt.NDArray[np.int64], weights: Floats
) -> Floats:
    """The mean squared difference of probability and truth, for each weighting of the patients.

    0 is perfect; always saying the share of positives p gives p (1 - p), and 0.5 gives 0.25.

    Args:
        positive, probability: (N,) truth and what was predicted, 0 to 1.
        index: (N,) position of the patient, 0 to P - 1.
        weights: (S, P) how often each patient counts.

    Returns:
        (S,) scores; NaN without a slice.

    Source: Brier 1950, for two classes (half of its original form).
    """
    patients = weights.shape[1]
    squares = np.bincount(index, weights=(probability - positive) ** 2, minlength=patients)
    with np.errstate(invalid="ignore"):
        scores: Floats = (weights @ squares) / (weights @ np.bincount(index, minlength=patients))
    return scores


def calibration(
    truth: npt.ArrayLike, probability: npt.ArrayLike, patient: npt.ArrayLike, *, min_cell: int, bins: int = BINS
) -> Calibration | None:
    """Expected calibration error and reliability curve.

    Slices are put in order of their probability and cut into bins of equally many; equal probabilities share a bin, so
    that there may be fewer. The error is the mean over slices of |mean probability - share of positives| of their bin.
    It is biased upward: with few slices a bin, the share of positives differs from its expectation by chance alone.

    A bin with slices of fewer than ``min_cell`` patients is withheld. What is withheld is also what is left over when
    the shown bins are taken from all slices: where that would be fewer than ``min_cell`` patients, the smallest of the
    shown bins is withheld beside it.

    Args:
        truth: (N,) 1 or True for a tumour slice.
        probability: (N,) of being one, 0 to 1.
        patient: (N,) whose slice it is.
        min_cell: fewest patients in a bin that is told to others.
        bins: how many.

    Returns:
        The record of a report, or None without slices.

    Raises:
        ValueError: if lengths differ or there is no bin.

    Source: Naeini, Cooper and Hauskrecht 2015 (error); Nixon et al. 2019 (bins of equally many); DeGroot and Fienberg
    1983 (curve). The bins are those of scikit-learn's ``calibration_curve`` with ``strategy="quantile"``.

    >>> found = calibration([0, 1, 1, 1], [0.1, 0.3, 0.8, 0.9], list("abcd"), min_cell=1, bins=2)
    >>> round(found.error, 3), [(round(one.predicted, 2), one.positive) for one in found.curve]
    (0.225, [(0.2, 0.5), (0.85, 1.0)])
    """
    positive = np.asarray(truth).astype(bool)
    score = np.asarray(probability, dtype=np.float64)
    names = np.asarray(patient)
    if positive.ndim != 1 or positive.shape != score.shape or score.shape != names.shape:
        raise ValueError(f"expected three equal lengths, got {positive.shape}, {score.shape} and {names.shape}")
    if bins < 1:
        raise ValueError(f"expected a bin or more, got {bins}")
    if not len(score):
        return None
    edges = np.percentile(score, np.linspace(0, 100, bins + 1))
    place = np.searchsorted(edges[1:-1], score)
    members = [place == bin_ for bin_ in np.unique(place)]
    curve = [
        ReliabilityBin(
            predicted=float(score[member].mean()),
            positive=float(positive[member].mean()),
            slices=int(member.sum()),
            patients=len(np.unique(names[member])),
        )
        for member in members
    ]
    hidden = _hidden(members, names, min_cell)
    return Calibration(
        error=sum(one.slices * abs(one.predicted - one.positive) for one in curve) / len(score),
        bins=bins,
        curve=[one for position, one in enumerate(curve) if position not in hidden],
        withheld=len(hidden),
    )


def _hidden(members: list[npt.NDArray[np.bool_]], names: npt.NDArray[np.generic], min_cell: int) -> set[int]:
    """Positions of the bins that are not told."""
    patients = [len(np.unique(names[member])) for member in members]
    hidden = {position for position, count in enumerate(patients) if count < min_cell}
    while 0 < len(hidden) < len(members):
        together = np.any([members[position] for position in hidden], axis=0)
        if len(np.unique(names[together])) >= min_cell:
            break
        hidden.add(min(set(range(len(members))) - hidden, key=lambda position: patients[position]))
    return hidden
