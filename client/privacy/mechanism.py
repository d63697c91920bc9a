"""Whether a step is the mechanism that is accounted for: what a planted patient adds, and what noise lies on it.

The lower bound of epsilon asks what an attacker can prove, and needs a gross fault to be surprised. The accounts rest
on less and on more: that each step adds at most the clipping bound C for a patient that is drawn, nothing for one that
is not, and normal noise of standard deviation sigma C, fresh for every weight and step. An auditor who planted the
patients knows who was drawn, and can test just that.
"""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.stats import beta, chi2, ks_1samp, norm, t

from common.results.privacy import MechanismTests

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


def mechanism_tests(seen: Floats, drawn: Flags, member: Flags, sigma: float) -> MechanismTests:
    """Tests of the stated mechanism on what was seen of M planted patients, each along a weight of its own, in T steps.

    Under the stated mechanism ``seen = drawn + sigma * noise`` with independent standard normal noise, and every
    probability but that of ``shape`` is exact (that one by Simard & L'Ecuyer 2011); where the surest of several tests
    counts, it is multiplied by their number. Probabilities:

    - ``sensitivity``: where a patient was drawn, the mean is 1. Two-sided: below 1 nothing leaks, but then the audit
      does not see the whole step.
    - ``largest``: no single patient's mean is above 1. One-sided.
    - ``noise``: where none was drawn, the mean square is sigma squared. Two-sided.
    - ``weakest``: nor is it less at a single weight or in a single step. One-sided.
    - ``independence``: of patients that were never in, no two steps resemble each other, and their sum varies no more
      and no less than a sum of independent ones. Two-sided.
    - ``offset``: where none was drawn, the mean is 0. Two-sided.
    - ``shape``: where none was drawn, values follow a normal distribution (Kolmogorov-Smirnov).

    Args:
        seen: (T, M) the update along each patient's weight, before any scaling but in units of the clipping bound.
        drawn: (T, M) whether the patient took part in the step.
        member: (M,) whether it was in the data at all; those that were not are never drawn.
        sigma: stated standard deviation of the noise, in units of the clipping bound, above 0.

    Returns:
        Estimates and probabilities; what has nothing to be told from, e.g. independence of a single step, is left out.

    Raises:
        ValueError: if the shapes do not fit, sigma is not positive, or one was drawn that was not in the data.
    """
    if seen.ndim != 2 or drawn.shape != seen.shape or member.shape != seen.shape[1:]:
        raise ValueError(f"shapes do not fit: {seen.shape} seen, {drawn.shape} drawn, {member.shape} members")
    if not sigma > 0 or bool((drawn & ~member).any()):
        raise ValueError("sigma must be positive, and only members can be drawn")
    left = (seen.astype(np.float64) - drawn) / sigma
    taking, bare = left[drawn], left[~drawn]
    steps, outside = len(left), left[:, ~member]
    p: dict[str, float] = {}
    if taking.size:
        p["sensitivity"] = 2 * float(norm.sf(abs(taking.sum()) / np.sqrt(taking.size)))
        p["largest"] = _largest(left, drawn)
    if bare.size:
        p["noise"] = two_sided(chi2(bare.size).cdf, chi2(bare.size).sf, float(np.square(bare).sum()))
        p["weakest"] = _weakest(left, ~drawn)
        p["offset"] = 2 * float(norm.sf(abs(bare.sum()) / np.sqrt(bare.size)))
        p["shape"] = float(ks_1samp(bare, norm.cdf).pvalue)
    if steps > 1 and outside.shape[1] > 1:
        p["independence"] = min(1.0, 2 * min(_most_alike(outside), _summed(outside)))
    return MechanismTests(
        draws=int(taking.size),
        sensitivity=float(1 + sigma * taking.mean()) if taking.size else None,
        noise=float(np.sqrt(np.square(bare).mean())) if bare.size else None,
        p=p,
    )


def two_sided(below: Callable[[float], float], above: Callable[[float], float], value: float) -> float:
    """Probability of a value as far out on its side, doubled; at most 1.

    >>> round(two_sided(norm.cdf, norm.sf, -1.96), 3)
    0.05
    """
    return min(1.0, 2 * min(float(below(value)), float(above(value))))


def _largest(left: Floats, drawn: Flags) -> float:
    counts = drawn.sum(0)
    known = counts > 0
    standard = (left * drawn).sum(0)[known] / np.sqrt(counts[known])
    return min(1.0, float(norm.sf(standard.max())) * int(known.sum()))


def _weakest(left: Floats, bare: Flags) -> float:
    """Over every weight (all its steps) and every step (all weights)."""
    squares = np.square(left) * bare
    sums = np.concatenate([squares.sum(0), squares.sum(1)])
    counts = np.concatenate([bare.sum(0), bare.sum(1)])
    known = counts > 0
    return min(1.0, float(chi2.cdf(sums[known], counts[known]).min()) * int(known.sum()))


def _most_alike(rows: Floats) -> float:
    """Of all pairs of T rows: the cosine of two independent normal vectors of length n, as t with n - 1 degrees."""
    steps, length = rows.shape
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    if not norms.all():
        return 0.0
    unit = rows / norms
    # Row by row: all pairs at once would not fit into memory for ten thousand steps.
    cosine = max(float(np.abs(unit[i + 1 :] @ unit[i]).max()) for i in range(steps - 1))
    if cosine >= 1:
        return 0.0
    statistic = cosine * math.sqrt((length - 1) / (1 - cosine**2))
    pairs = math.comb(steps, 2)
    return min(1.0, 2 * pairs * float(t.sf(statistic, length - 1)))


def _summed(rows: Floats) -> float:
    """The share of the sums over T steps in all squares, whatever their size: Beta(n / 2, n (T - 1) / 2)."""
    steps, length = rows.shape
    total = float(np.square(rows).sum())
    if not total:
        return 0.0
    share = float(np.square(rows.sum(0)).sum()) / steps / total
    stated = beta(length / 2, length * (steps - 1) / 2)
    return two_sided(stated.cdf, stated.sf, share)
