"""How large a difference is beside its spread, which no probability says."""

from collections.abc import Sequence

import numpy as np
from scipy.special import gammaln

from common.results.statistics import StandardisedDifference
from server.statistics.paired import paired_differences, why_undefined


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
