"""Sensitivity where a fixed specificity is kept: how a test is judged that must not alarm too often."""

import numpy as np
import numpy.typing as npt

from common.metrics.bootstrap import Floats

SPECIFICITY = 0.9
"""Share of negative slices that must stay below the threshold."""

_CELLS = 4_000_000
"""Entries of the largest table that is held at once: 32 MB."""


def sensitivity_at_specificity(
    positive: npt.NDArray[np.bool_],
    probability: Floats,
    index: npt.NDArray[np.int64],
    weights: Floats,
    *,
    specificity: float = SPECIFICITY,
) -> Floats:
    """The share of positive slices at or above a threshold that keeps the specificity, for each weighting of patients.

    The threshold is the lowest probability below which the wanted share of negative slices lies; it is found anew for
    each weighting, so that an interval over resamples holds its uncertainty too. Where no probability is high enough,
    nothing is called positive and the sensitivity is 0. The threshold comes from the slices that are scored: on new
    patients the specificity will be near the wanted one and not equal to it.

    Args:
        positive, probability: (N,) truth and what was predicted, 0 to 1.
        index: (N,) position of the patient, 0 to P - 1.
        weights: (S, P) how often each patient counts, in whole numbers.
        specificity: above 0, at most 1.

    Returns:
        (S,) sensitivities; NaN where a weighting holds one class only.

    Raises:
        ValueError: if the specificity is out of range.

    >>> found = sensitivity_at_specificity(
    ...     np.array([False, False, True, True]), np.array([0.1, 0.6, 0.5, 0.9]), np.arange(4), np.ones((1, 4))
    ... )
    >>> found.tolist()
    [0.5]
    """
    if not 0 < specificity <= 1:
        raise ValueError(f"a specificity is above 0 and at most 1, got {specificity}")
    patients = weights.shape[1]
    thresholds, place = np.unique(probability, return_inverse=True)
    # For patient p and threshold j: negative slices below it, positive ones at or above it.
    negative_at, positive_at = (np.zeros((patients, len(thresholds))) for _ in range(2))
    np.add.at(negative_at, (index[~positive], place[~positive]), 1)
    np.add.at(positive_at, (index[positive], place[positive]), 1)
    # One more threshold, above all probabilities.
    below = np.pad(negative_at.cumsum(axis=1), ((0, 0), (1, 0)))
    called = np.pad(positive_at[:, ::-1].cumsum(axis=1)[:, ::-1], ((0, 0), (0, 1)))
    found = np.empty(len(weights))
    rows = max(1, _CELLS // below.shape[1])
    for start in range(0, len(weights), rows):
        found[start : start + rows] = _at_first(weights[start : start + rows], below, called, specificity)
    return found


def _at_first(weights: Floats, below: Floats, called: Floats, specificity: float) -> Floats:
    """(S,) sensitivity at the first threshold that keeps the specificity."""
    negatives, positives = weights @ below[:, -1], weights @ called[:, 0]
    # Counts are whole, their product with the specificity is rounded: 0.9 x 10 negatives are 9 of them.
    first = (weights @ below >= (specificity * negatives)[:, None] - 1e-9).argmax(axis=1)
    hits = np.einsum("sp,sp->s", weights, called[:, first].T)
    with np.errstate(invalid="ignore"):
        sensitivity: Floats = np.where(negatives > 0, hits / positives, np.nan)
    return sensitivity
