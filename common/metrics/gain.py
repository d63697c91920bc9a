"""How much better one classifier is than another on the same slices: paired, with an interval over patients."""

import numpy as np
import numpy.typing as npt

from common.metrics.bootstrap import Estimate, Floats, estimate, patient_weights
from common.metrics.classification import THRESHOLD, auc_of_weightings


def paired_gain(
    truth: npt.ArrayLike,
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    patient: npt.ArrayLike,
    *,
    samples: int,
    seed: int,
    min_cell: int,
) -> dict[str, Estimate]:
    """``accuracy`` and ``auc`` of probabilities ``a`` minus those of ``b``, each from -1 to 1.

    Each resample draws patients with replacement and takes both classifiers' figures on the same draw, so that what
    makes a patient hard for both does not widen the interval.

    Args:
        truth: (N,) 1 or True for a tumour slice.
        a, b: (N,) probabilities of two classifiers, 0 to 1.
        patient: (N,) whose slice it is.
        samples: resamples.
        seed: the same seed gives the same interval.
        min_cell: below this number of patients, and for a single one, there is no interval.

    Raises:
        ValueError: if lengths differ, or a probability is NaN or out of range.

    >>> gain = paired_gain([1, 0, 1, 0], [0.9, 0.2, 0.8, 0.1], [0.4, 0.2, 0.8, 0.1], list("aabb"), samples=9, seed=1,
    ...     min_cell=5)
    >>> gain["accuracy"].value, gain["auc"].value, gain["accuracy"].low
    (0.25, 0.0, None)
    """
    positive = np.asarray(truth).astype(bool)
    one, other = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    names = np.asarray(patient)
    if positive.ndim != 1 or not positive.shape == one.shape == other.shape == names.shape:
        raise ValueError(
            f"expected four equal lengths, got {positive.shape}, {one.shape}, {other.shape} and {names.shape}"
        )
    for score in (one, other):
        if not ((score >= 0) & (score <= 1)).all():
            raise ValueError("a probability is NaN or outside 0 to 1")
    if not len(positive):
        return {"accuracy": Estimate(None), "auc": Estimate(None)}
    _, index = np.unique(names, return_inverse=True)
    patients = int(index.max()) + 1
    weights = np.concatenate([np.ones((1, patients)), patient_weights(patients, samples, seed)])
    accuracy = _accuracy(positive, one, index, weights) - _accuracy(positive, other, index, weights)
    auc = auc_of_weightings(positive, one, index, weights) - auc_of_weightings(positive, other, index, weights)
    return {
        name: estimate(float(values[0]), values[1:], patients=patients, min_cell=min_cell)
        for name, values in (("accuracy", accuracy), ("auc", auc))
    }


def _accuracy(positive: npt.NDArray[np.bool_], score: Floats, index: npt.NDArray[np.int64], weights: Floats) -> Floats:
    right = np.bincount(index, weights=(score >= THRESHOLD) == positive)
    result: Floats = (weights @ right) / (weights @ np.bincount(index))
    return result
