"""The figures of ``augmentation.py``: gains over another arm, with intervals over the fixed test patients."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from common.metrics.bootstrap import patient_weights
from common.seeding import derive_seed

Floats = npt.NDArray[np.float64]
SAMPLES = 2000
Row = Mapping[str, Any]
Place = tuple[str, str, str]
"""Scope, site, and where its classifier was tested."""


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
        seed: of the resamples; the same for all arms at one place, another for another place.
    """

    def __init__(self, truth: Floats, owner: npt.NDArray[np.int64], probabilities: Sequence[Floats], seed: int) -> None:
        patients = int(owner.max()) + 1
        slices = np.bincount(owner, minlength=patients)
        positives = np.bincount(owner, weights=truth > 0, minlength=patients)
        # The first row is the patients as they are.
        weights = np.concatenate([np.ones((1, patients)), patient_weights(patients, SAMPLES, seed)])
        both = [tallies(truth, owner, one) for one in probabilities]
        right, pairs = np.stack([one for one, _ in both]), np.stack([two for _, two in both])
        self.accuracy = right.sum(1) / slices.sum()
        self.auc = pairs.sum((1, 2)) / (positives.sum() * (slices - positives).sum())
        self.accuracies = weights @ right.mean(0) / (weights @ slices)
        concordant = np.einsum("sp,pq,sq->s", weights, pairs.mean(0), weights)
        self.aucs = concordant / ((weights @ positives) * (weights @ (slices - positives)))


def table(
    rows: Iterable[Row],
    truths: Mapping[str, tuple[Floats, npt.NDArray[np.int64]]],
    arms: Sequence[str],
    against: str = "real",
) -> str:
    """A line for each place and arm, then the mean over the places; only training sets that both arms have count."""
    held: dict[Place, dict[str, dict[int, Floats]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        held[row["scope"], row["site"], row["test"]][row["arm"]][row["set"]] = np.asarray(row["probability"])
    lines = []
    means: dict[tuple[str, bool, str], list[Gain]] = defaultdict(list)
    for place in sorted(held, key=lambda key: (key[0] != "local", key)):
        scope, site, test = place
        truth, owner = truths[test]
        lines.append(
            f"\n{scope} classifier of {site}, {int(owner.max()) + 1} test patients of {test}, {len(truth)} slices, "
            f"{100 * np.mean(truth):.0f}% with a tumour"
        )
        seed = derive_seed("augmentation", "bootstrap", test)
        if against in held[place]:
            scores = Scores(truth, owner, list(held[place][against].values()), seed)
            lines.append(
                f"  {against:26} accuracy {100 * scores.accuracy.mean():5.1f} "
                f"{_interval(scores.accuracies)} sd {_sd(scores.accuracy):4.1f}; AUC {100 * scores.auc.mean():5.1f} "
                f"{_interval(scores.aucs)} sd {_sd(scores.auc):4.1f}; {len(held[place][against])} sets"
            )
        for arm in [one for one in arms if one != against]:
            both = sorted(set(held[place][arm]) & set(held[place][against]))
            if both:
                here, there = (
                    Scores(truth, owner, [held[place][one][n] for n in both], seed) for one in (arm, against)
                )
                gain = Gain(here.accuracies - there.accuracies, here.aucs - there.aucs)
                means[scope, test != site, arm].append(gain)
                lines.append(
                    f"  {arm:26} {gain.text(_sd(here.accuracy - there.accuracy), _sd(here.auc - there.auc))}; "
                    f"{len(both)} sets; errors x {(1 - here.accuracies[0]) / (1 - there.accuracies[0]):.2f}"
                )
    for (scope, away, arm), gains in means.items():
        if len(gains) > 1:
            where = "external centres" if away else "own test patients"
            mean = Gain(*(np.mean([getattr(one, name) for one in gains], axis=0) for name in ("accuracy", "auc")))
            lines.append(f"\nmean over {len(gains)} {scope} classifiers, {where}: {arm} {mean.text()}")
    return "\n".join(lines)


@dataclass(frozen=True)
class Gain:
    """Accuracy and AUC of one arm minus another's: as they are, then in each resample."""

    accuracy: Floats
    auc: Floats

    def text(self, accuracy_sd: float | None = None, auc_sd: float | None = None) -> str:
        """In points, with intervals, and standard deviations over training sets where they are known."""
        first, second = ("" if sd is None else f" sd {sd:4.1f}" for sd in (accuracy_sd, auc_sd))
        return f"accuracy {_gain(self.accuracy)}{first}; AUC {_gain(self.auc)}{second}"


def _gain(resampled: Floats) -> str:
    return f"{100 * resampled[0]:+5.1f} {_interval(resampled)}"


def _interval(resampled: Floats) -> str:
    low, high = 100 * np.percentile(resampled[1:], (2.5, 97.5))
    return f"[{low:5.1f}, {high:5.1f}]"


def _sd(values: Floats) -> float:
    return float(100 * values.std(ddof=1)) if len(values) > 1 else float("nan")
