"""The figures of ``augmentation.py``: gains over real slices alone, with intervals over the fixed test patients."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from common.metrics.bootstrap import patient_weights

Floats = npt.NDArray[np.float64]
SAMPLES = 2000
Row = Mapping[str, Any]


def tallies(truth: Floats, owner: npt.NDArray[np.int64], probability: Floats) -> tuple[Floats, Floats]:
    """(P,) slices told right of each patient, and (P, P) pairs in order of one's tumour and another's healthy slices.

    >>> right, pairs = tallies(np.array([1, 0]), np.array([0, 1]), np.array([0.9, 0.6]))
    >>> right.tolist(), pairs.tolist()
    ([1.0, 0.0], [[0.0, 1.0], [0.0, 0.0]])
    """
    patients = int(owner.max()) + 1
    right = np.bincount(owner, weights=(probability >= 0.5) == (truth > 0), minlength=patients)
    positive, negative = np.flatnonzero(truth > 0), np.flatnonzero(truth == 0)
    order = np.sign(probability[positive][:, None] - probability[negative][None, :]) / 2 + 0.5
    pairs = np.zeros((patients, patients))
    np.add.at(pairs, (owner[positive][:, None], owner[negative][None, :]), order)
    return right, pairs


class Scores:
    """Accuracy and AUC of one arm at one place, by training set, and in each resample of the patients.

    Args:
        truth: (N,) 1 for a tumour slice.
        owner: (N,) index of the patient.
        probabilities: (N,) for each training set.
    """

    def __init__(self, truth: Floats, owner: npt.NDArray[np.int64], probabilities: Sequence[Floats]) -> None:
        patients = int(owner.max()) + 1
        slices = np.bincount(owner, minlength=patients)
        positives = np.bincount(owner, weights=truth > 0, minlength=patients)
        # The first row is the patients as they are.
        weights = np.concatenate([np.ones((1, patients)), patient_weights(patients, SAMPLES, 1)])
        both = [tallies(truth, owner, one) for one in probabilities]
        right, pairs = np.stack([one for one, _ in both]), np.stack([two for _, two in both])
        self.accuracy = right.sum(1) / slices.sum()
        self.auc = pairs.sum((1, 2)) / (positives.sum() * (slices - positives).sum())
        self.accuracies = weights @ right.mean(0) / (weights @ slices)
        concordant = np.einsum("sp,pq,sq->s", weights, pairs.mean(0), weights)
        self.aucs = concordant / ((weights @ positives) * (weights @ (slices - positives)))


def table(rows: Iterable[Row], truths: Mapping[str, tuple[Floats, npt.NDArray[np.int64]]], arms: Sequence[str]) -> str:
    """A line for each place and arm; only training sets that both the arm and real alone have count."""
    held: dict[tuple[str, str, str, str], dict[int, Floats]] = defaultdict(dict)
    for row in rows:
        held[row["scope"], row["site"], row["test"], row["arm"]][row["set"]] = np.asarray(row["probability"])
    places = sorted({key[:3] for key in held}, key=lambda key: (key[0] != "local", key))
    lines = []
    for place in places:
        real = held.get((*place, "real"), {})
        truth, owner = truths[place[2]]
        patients = int(owner.max()) + 1
        lines.append(
            f"\n{place[0]} classifier of {place[1]}, {patients} test patients of {place[2]}, {len(truth)} slices, "
            f"{100 * np.mean(truth):.0f}% with a tumour"
        )
        if real:
            scores = Scores(truth, owner, list(real.values()))
            lines.append(
                f"  {'real':26} accuracy {100 * scores.accuracy.mean():5.1f} "
                f"{_interval(scores.accuracies)} sd {_sd(scores.accuracy):4.1f}; AUC {100 * scores.auc.mean():5.1f} "
                f"{_interval(scores.aucs)} sd {_sd(scores.auc):4.1f}; {len(real)} sets"
            )
        for arm in [one for one in arms if one != "real"]:
            mine = held.get((*place, arm), {})
            both = sorted(set(mine) & set(real))
            if both:
                here, there = (Scores(truth, owner, [one[n] for n in both]) for one in (mine, real))
                lines.append(
                    f"  {arm:26} accuracy {_gain(here.accuracies - there.accuracies)} "
                    f"sd {_sd(here.accuracy - there.accuracy):4.1f}; AUC {_gain(here.aucs - there.aucs)} "
                    f"sd {_sd(here.auc - there.auc):4.1f}; {len(both)} sets; errors x "
                    f"{(1 - here.accuracies[0]) / (1 - there.accuracies[0]):.2f}"
                )
    return "\n".join(lines)


def _gain(resampled: Floats) -> str:
    return f"{100 * resampled[0]:+5.1f} {_interval(resampled)}"


def _interval(resampled: Floats) -> str:
    low, high = 100 * np.percentile(resampled[1:], (2.5, 97.5))
    return f"[{low:5.1f}, {high:5.1f}]"


def _sd(values: Floats) -> float:
    return float(100 * values.std(ddof=1)) if len(values) > 1 else float("nan")
