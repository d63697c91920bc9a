"""Two tests of paired scores: the one that studies report, and the one that knows of overlapping training sets.

Scores of a cross-validation are not independent: any two folds share most of their training patients, and over
repeated runs also their test patients. The paired t-test takes them for independent and therefore finds too much
(tests/common/statistics shows how often). It is here because the source study reports it; conclusions rest on the
corrected one.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import stats

from common.results.statistics import PairedTest, TestName

CONFIDENCE = 0.95
"""Of the intervals."""


def paired_t_test(a: Sequence[float], b: Sequence[float], *, counts: str) -> PairedTest:
    """The paired t-test (scipy's ``ttest_rel``), two-sided.

    Args:
        a, b: n scores each, in pairs.
        counts: what the pairs are, in the plural, e.g. ``run-folds``.

    Raises:
        ValueError: if lengths differ or a score is not finite.

    >>> result = paired_t_test([0.9, 0.8, 0.85], [0.8, 0.75, 0.82], counts="folds")
    >>> result.n, round(result.mean, 3), round(result.p, 3)
    (3, 0.06, 0.102)
    """
    name: TestName = "paired t-test"
    differences = paired_differences(a, b)
    undefined = why_undefined(differences, counts)
    mean = float(differences.mean()) if len(differences) else None
    if undefined is not None:
        return PairedTest(test=name, n=len(differences), counts=counts, mean=mean, undefined=undefined)
    result = stats.ttest_rel(a, b)
    interval = result.confidence_interval(CONFIDENCE)
    return PairedTest(
        test=name,
        n=len(differences),
        counts=counts,
        mean=mean,
        low=float(interval.low),
        high=float(interval.high),
        statistic=float(result.statistic),
        df=int(result.df),
        p=float(result.pvalue),
    )


def corrected_resampled_t_test(
    a: Sequence[float], b: Sequence[float], *, test_to_train: float, counts: str
) -> PairedTest:
    """The corrected resampled t-test, two-sided: for scores of folds that share training data.

    With mean difference m and variance s² (n - 1 in its denominator) of n differences,

        t = m / sqrt((1/n + n_test/n_train) s²),  with n - 1 degrees of freedom:

    the plain test's 1/n is widened by what two scores have in common, whose correlation is taken to be
    n_test / (n_test + n_train). However many runs are added, the variance does not fall below n_test/n_train of s²:
    more runs of the same patients are no more patients.

    Args:
        a, b: n scores each, in pairs; over runs x folds, all of them.
        test_to_train: n_test / n_train, in patients, since slices of one patient are alike: 1/4 for five folds.
        counts: what the pairs are, in the plural, e.g. ``run-folds``.

    Raises:
        ValueError: if lengths differ, a score is not finite, or the ratio is not above 0.

    Source: Nadeau and Bengio 2003, "Inference for the generalization error"; for runs x folds Bouckaert and
    Frank 2004.

    >>> result = corrected_resampled_t_test([0.9, 0.8, 0.85], [0.8, 0.75, 0.82], test_to_train=0.25, counts="folds")
    >>> result.n, round(result.mean, 3), round(result.p, 3)
    (3, 0.06, 0.161)
    """
    name: TestName = "corrected resampled t-test"
    if not (np.isfinite(test_to_train) and test_to_train > 0):
        raise ValueError(f"the ratio of test to training patients must be above 0, got {test_to_train}")
    differences = paired_differences(a, b)
    undefined = why_undefined(differences, counts)
    n = len(differences)
    mean = float(differences.mean()) if n else None
    if undefined is not None or mean is None:
        return PairedTest(test=name, n=n, counts=counts, mean=mean, undefined=undefined)
    error = float(np.sqrt((1 / n + test_to_train) * differences.var(ddof=1)))
    low, high = stats.t.interval(CONFIDENCE, n - 1, loc=mean, scale=error)
    return PairedTest(
        test=name,
        n=n,
        counts=counts,
        mean=mean,
        low=float(low),
        high=float(high),
        statistic=mean / error,
        df=n - 1,
        p=float(2 * stats.t.sf(abs(mean / error), n - 1)),
        test_to_train=test_to_train,
    )


def paired_differences(a: Sequence[float], b: Sequence[float]) -> npt.NDArray[np.float64]:
    """(n,) a - b.

    Raises:
        ValueError: if lengths differ or a score is not finite.
    """
    one, other = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if one.ndim != 1 or one.shape != other.shape:
        raise ValueError(f"paired scores must be as many in both, got {one.shape} and {other.shape}")
    if not (np.isfinite(one).all() and np.isfinite(other).all()):
        raise ValueError("a score is not finite")
    differences: npt.NDArray[np.float64] = one - other
    return differences


def why_undefined(differences: npt.NDArray[np.float64], counts: str) -> str | None:
    """Why nothing can be said of the spread of these differences; None where it can."""
    if len(differences) < 2:
        return f"fewer than two {counts}"
    # Subtraction leaves crumbs of rounding: 0.9 - 0.8 and 0.7 - 0.6 are the same difference.
    if np.ptp(differences) <= 1e-12 * max(1.0, float(np.abs(differences).max())):
        return "all differences are equal, so that their spread is 0"
    return None
