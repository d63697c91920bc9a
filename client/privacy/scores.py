"""Figures on test patients with noise, where the hospital or the study wants that: ``privacy.scores: noised``.

Each patient counts alike: of its slices, the shares that are told right and wrong, with and without a tumour, are four
numbers that sum to 1. Their sum over patients changes by at most 1 (L2) when one comes or leaves; Gaussian noise is
added to it, and paid for from the same ledger as a step in which everybody takes part. Figures are made of the noised
sums alone. There is no AUC, no calibration and no gain among them: those would need sums of their own.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch

from client.data.site_data import SiteData
from client.data.work import WorkFolder
from client.privacy.budget import Budget
from client.privacy.guarded import tells_noised_scores
from client.privacy.plan import study_plan
from client.privacy.randomness import PrivateRandom, Stream
from common.errors import RefusalError
from common.figures.figure import Figure
from common.imaging.slices import Slices
from common.results.classifier import ToldScores
from common.study.phases import PhaseKind

SIMULATED = 1000
"""Draws behind an interval."""

THRESHOLD = 0.5

GRID = 256
"""Noised sums are multiples of one over this: fine beside any noise, coarse beside what rounding leaves of it."""

DIGITS = 4
"""Of each figure that leaves."""

Counts = npt.NDArray[np.float64]
"""(..., 4): true positive, false positive, true negative, false negative; sums over patients of shares of slices."""


def noised_scores(
    data: SiteData,
    work: WorkFolder,
    phase: str,
    slices: Slices,
    probability: npt.NDArray[np.float64],
    random: Callable[[], PrivateRandom],
) -> ToldScores | None:
    """What may leave of a classifier's figures; None where figures are told as they are.

    Args:
        data, work: of the trial.
        phase: of the question; it must be one that the study announced.
        slices: that were scored.
        probability: (N,) of a tumour.
        random: makes the randomness of the noise.

    Raises:
        RefusalError: for a question that was not planned, or if the budget does not suffice. The text may leave.
    """
    if not tells_noised_scores(data.study):
        return None
    budget = Budget(data.study.settings)
    plan, mechanism = study_plan(data, work, budget), f"{PhaseKind.SCORES}/{phase}"
    if mechanism not in plan.steps:
        raise RefusalError("it was asked for scores that the study had not announced")
    run_cap = data.study.experiment.privacy.epsilon
    budget.charge(run=data.study.run, mechanism=mechanism, sigma=plan.sigma, q=1.0, steps=1, run_cap=run_cap)
    stream = random().stream("scores", phase)
    noise = plan.sigma * stream.normal((4,), dtype=torch.float64).numpy()
    exact = counts_of(slices.tumour_class(), probability, slices.owner)
    # On a grid that is the same for all counts: the last bits of a sum would tell which counts it can be a sum of.
    noised = np.round((exact + noise) * GRID) / GRID
    return ToldScores(figures=[_figure(name, values) for name, values in _draws(noised, plan.sigma, stream).items()])


def counts_of(truth: npt.ArrayLike, probability: npt.ArrayLike, patient: npt.ArrayLike) -> Counts:
    """The four sums over patients, before the noise.

    >>> counts_of([1, 1, 0, 0], [0.9, 0.1, 0.2, 0.3], [0, 0, 0, 1]).round(2).tolist()
    [0.33, 0.0, 1.33, 0.33]
    """
    true, called, who = np.asarray(truth, bool), np.asarray(probability) >= THRESHOLD, np.asarray(patient)
    cells = np.stack([true & called, ~true & called, ~true & ~called, true & ~called], axis=1).astype(np.float64)
    _, owner, slices = np.unique(who, return_inverse=True, return_counts=True)
    shares = np.zeros((len(slices), 4))
    np.add.at(shares, owner, cells)
    return np.asarray((shares / slices[:, None]).sum(0))


def _draws(noised: Counts, sigma: float, stream: Stream) -> Mapping[str, Sequence[float]]:
    """Each figure: its value, then what it might as well have been, by the noise and by which patients there are."""
    kept = np.maximum(noised, 0.0)
    patients = max(1.0, float(kept.sum()))
    shares = kept / max(float(kept.sum()), 1e-9)
    normal = stream.normal((SIMULATED, 8)).double().numpy()
    by_patients = np.sqrt(patients * shares * (1 - shares)) * normal[:, :4]
    drawn = np.maximum(np.concatenate([noised[None], noised + sigma * normal[:, 4:] + by_patients]), 0.0)
    positive, false, negative, missed = drawn.T
    return {
        "accuracy": _share(positive + negative, drawn.sum(1)),
        "precision": _share(positive, positive + false),
        "recall": _share(positive, positive + missed),
        "f1": _share(2 * positive, 2 * positive + false + missed),
    }


def _share(part: Counts, whole: Counts) -> list[float]:
    return [float(value) for value in np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)]


def _figure(metric: str, values: Sequence[float]) -> Figure:
    low, high = np.percentile(values[1:], [2.5, 97.5])
    value = round(values[0], DIGITS)
    return Figure(
        metric=metric,
        value=value,
        low=min(round(float(low), DIGITS), value),
        high=max(round(float(high), DIGITS), value),
        standard_error=round(float(np.std(values[1:], ddof=1)), DIGITS),
    )
