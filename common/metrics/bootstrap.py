"""Intervals over patients: slices of one patient are alike, so whole patients are resampled, never slices."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from common.figures.figure import Figure
from common.seeding import Label, numpy_generator

Floats = npt.NDArray[np.float64]

NORMAL_95 = 1.959963984540054


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95% interval.

    Attributes:
        value: the figure on all the data (not the mean of the resamples); None where it is undefined.
        low, high: percentiles 2.5 and 97.5 of the resamples; None below ``min_cell`` patients and for a single
            one, or where most resamples are undefined or all are alike.
        standard_error: standard deviation of the resamples; None where low and high are.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    standard_error: float | None = None

    def figure(self, metric: str, part: str = "", against: str = "", **more: Any) -> Figure:
        """It as the figure of a metric; ``more`` are further fields of :class:`~common.figures.figure.Figure`."""
        return Figure(metric=metric, part=part, against=against, **asdict(self), **more)


def patient_weights(patients: int, samples: int, seed: int) -> Floats:
    """(samples, patients): how often each patient was drawn, with replacement, as many draws as there are patients.

    >>> patient_weights(5, 3, seed=1).sum(axis=1).tolist()
    [5.0, 5.0, 5.0]
    """
    random = numpy_generator(seed, Label.BOOTSTRAP_OVER_PATIENTS, patients)
    return random.multinomial(patients, np.full(patients, 1 / patients), size=samples).astype(np.float64)


def estimate(value: float, resampled: Floats, *, patients: int, min_cell: int) -> Estimate:
    """An :class:`Estimate` from the figure itself and its value in each resample; NaN means undefined.

    Resamples where the figure is undefined (say, a recall without a single positive) are left out; if they are more
    than half, there is no interval. Nor is there one below ``min_cell`` patients, or where all resamples are alike, as
    of a single patient or of a few that were all told right: an interval without width would look like certainty.
    """
    if np.isnan(value):
        return Estimate(None)
    defined = resampled[~np.isnan(resampled)]
    if patients < min_cell or len(defined) < max(2, len(resampled) / 2):
        return Estimate(float(value))
    if np.ptp(defined) <= 1e-12 * max(1.0, abs(value)):
        return Estimate(float(value))
    low, high = np.percentile(defined, (2.5, 97.5))
    return Estimate(float(value), float(low), float(high), float(defined.std(ddof=1)))


def paired_difference(
    a: npt.ArrayLike, b: npt.ArrayLike, patient: npt.ArrayLike, samples: int, seed: int, min_cell: int = 2
) -> Estimate:
    """The mean over patients of each patient's mean difference a - b, with a bootstrap interval over patients.

    Args:
        a, b: (N,) two figures of the same slices, e.g. a generator's and its floor's PSNR.
        patient: (N,) whose slice it is.
        samples: resamples.
        seed: the same seed gives the same interval.
        min_cell: fewest patients for an interval.

    Raises:
        ValueError: if lengths differ or a value is not finite.

    >>> paired_difference([2, 2, 5], [1, 1, 2], ["p", "p", "q"], samples=100, seed=1).value
    2.0
    """
    difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    names = np.asarray(patient)
    if difference.ndim != 1 or difference.shape != names.shape:
        raise ValueError(f"expected (N,) values and (N,) patients, got {difference.shape} and {names.shape}")
    if not np.isfinite(difference).all():
        raise ValueError("a difference is not finite")
    if not len(names):
        return Estimate(None)
    _, index = np.unique(names, return_inverse=True)
    means = np.bincount(index, weights=difference) / np.bincount(index)
    weights = patient_weights(len(means), samples, seed)
    return estimate(means.mean(), weights @ means / len(means), patients=len(means), min_cell=min_cell)


def mean_over_sites(
    sites: Sequence[Mapping[str, tuple[float | None, float | None]]],
) -> dict[str, Estimate]:
    """The unweighted mean of each metric over sites, with a normal interval.

    No value of a single patient leaves a site, so patients cannot be resampled across sites. What does leave is each
    site's figure and its standard error. Sites hold different patients, so their errors are independent and the
    standard error of the mean over k sites is sqrt(sum of squares) / k. Unweighted, because the question is how the
    model does at a typical site, and because a site need not declare how many patients it has.

    Args:
        sites: for each site, metric -> (mean, standard error). A site whose mean is None is left out of that metric;
            one whose standard error alone is None still counts for the mean, and the interval is then None.

    Returns:
        metric -> estimate, for every metric that any site named.

    >>> both = mean_over_sites([{"auc": (0.8, 0.03)}, {"auc": (0.9, 0.04)}])["auc"]
    >>> round(both.value, 3), round(both.standard_error, 3)
    (0.85, 0.025)
    """
    metrics = dict.fromkeys(metric for site in sites for metric in site)
    return {metric: _mean_over_sites([site[metric] for site in sites if metric in site]) for metric in metrics}


def _mean_over_sites(values: Sequence[tuple[float | None, float | None]]) -> Estimate:
    known = [(mean, error) for mean, error in values if mean is not None]
    if not known:
        return Estimate(None)
    mean = sum(mean for mean, _ in known) / len(known)
    errors = [error for _, error in known if error is not None]
    if len(errors) < len(known):
        return Estimate(mean)
    error = float(np.sqrt(np.square(errors).sum())) / len(known)
    return Estimate(mean, mean - NORMAL_95 * error, mean + NORMAL_95 * error, error)
