"""How large a difference is, which no probability says: beside its spread, and by the share of patients it reaches."""

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
from scipy.special import gammaln

from common.statistics.paired import paired_differences, why_undefined
from common.statistics.records import StandardisedDifference, Superiority


def standardised_difference(a: Sequence[float], b: Sequence[float], *, counts: str) -> StandardisedDifference:
    """Cohen's d_z, and Hedges' g_z, which is d_z without its bias at small n.

        d_z = mean(a - b) / sd(a - b), with n - 1 in the denominator of the variance
        g_z = J d_z,  J = Γ(m/2) / (sqrt(m/2) Γ((m-1)/2)),  m = n - 1

    It is of paired scores: beside the spread of differences, not that of scores. Over run-folds, whose scores vary
    less than those of new patients would, it says how steady a difference is, not how much it would matter.

    Args:
        a, b: n scores each, in pairs.
        counts: what the pairs are, in the plural.

    Raises:
        ValueError: if lengths differ or a score is not finite.

    Source: Cohen 1988, chapter 2 (d_z); Hedges 1981, equation 6e (J); Lakens 2013.

    >>> result = standardised_difference([0.9, 0.8, 0.85], [0.8, 0.75, 0.82], counts="folds")
    >>> round(result.d_z, 2), round(result.g_z, 2)
    (1.66, 0.94)
    """
    differences = paired_differences(a, b)
    undefined = why_undefined(differences, counts)
    n = len(differences)
    if undefined is None and n < 3:
        # Two differences give a d_z without an expectation, and nothing that a factor could set right.
        undefined = f"fewer than three {counts}"
    if undefined is not None:
        return StandardisedDifference(n=n, counts=counts, undefined=undefined)
    d = float(differences.mean() / differences.std(ddof=1))
    return StandardisedDifference(n=n, counts=counts, d_z=d, g_z=small_sample_factor(n) * d)


def small_sample_factor(n: int) -> float:
    """Hedges' J for n >= 3 pairs, about 1 - 3 / (4 (n - 1) - 1).

    >>> round(small_sample_factor(15), 4)
    0.9453
    """
    m = n - 1
    return float(np.exp(gammaln(m / 2) - gammaln((m - 1) / 2)) / np.sqrt(m / 2))


def superiority(a: Mapping[Hashable, float], b: Mapping[Hashable, float], *, min_cell: int) -> Superiority:
    """For how many patients one arm scores better than another.

    The share of patients with a higher score in ``a``, equal ones counting one half (the probability of superiority
    for dependent groups), and the same as a difference of shares (Cliff's delta within pairs, 2 x share - 1).

    Args:
        a, b: score by patient, e.g. the share of a patient's slices that were called rightly. Patients that only one
            of them holds are left out.
        min_cell: fewest patients for which anything is told.

    Raises:
        ValueError: if a score is not finite.

    Source: Grissom and Kim 2012 (probability of superiority); Cliff 1996 (delta).

    >>> superiority({"p": 0.9, "q": 0.5, "r": 0.7}, {"p": 0.8, "q": 0.5, "r": 0.8}, min_cell=2).probability
    0.5
    """
    both = [patient for patient in a if patient in b]
    differences = paired_differences([a[patient] for patient in both], [b[patient] for patient in both])
    if len(both) < max(1, min_cell):
        return Superiority(patients=None, undefined=f"fewer than {max(1, min_cell)} patients")
    delta = float(np.sign(differences).mean())
    return Superiority(patients=len(both), probability=(delta + 1) / 2, delta=delta)
