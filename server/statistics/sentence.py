"""What a comparison found, in words: no probability is printed without its test, its n and its family."""

import math

from common.figures.formatting import MISSING, RATIO, Scale
from common.report.arms import arm_title
from common.results.statistics import Comparison, Holm, PairedTest


def probability(p: float) -> str:
    """A probability to two digits, with its sign of equality, since one below 0.001 is not told further.

    >>> probability(0.0904), probability(0.0021), probability(0.00002)
    ('= 0.090', '= 0.0021', '< 0.001')
    """
    if p < 0.001:
        return "< 0.001"
    return f"= {p:.{max(2, 1 - math.floor(math.log10(p)))}f}"


def told(test: PairedTest, scale: Scale, adjusted: Holm | None = None) -> str:
    """What one test found.

    Args:
        test: the test.
        scale: how a difference is written, e.g. ``POINTS``.
        adjusted: its probability over a family of comparisons.

    >>> from common.figures.formatting import POINTS
    >>> found = PairedTest(
    ...     test="paired t-test", n=15, counts="run-folds", mean=0.021, low=-0.004, high=0.046, df=14, p=0.09
    ... )
    >>> told(found, POINTS, Holm(p=0.18, family=2)).replace("\\N{NO-BREAK SPACE}", " ")
    'paired t-test over 15 run-folds: +2.1 percentage points (−0.4 to +4.6), p = 0.090, Holm over 2 comparisons = 0.18'
    """
    scale = scale.signed
    head = f"{test.test} over {test.n} {test.counts}: {scale.text(test.mean)}"
    if test.p is None:
        return f"{head.removesuffix(': ' + MISSING)}, no p-value: {test.undefined}"
    family = f", Holm over {adjusted.family} comparisons {probability(adjusted.p)}" if adjusted else ""
    return f"{head} ({scale.number(test.low)} to {scale.number(test.high)}), p {probability(test.p)}{family}"


def comparison_told(comparison: Comparison, scale: Scale) -> str:
    """A comparison in one sentence: the corrected test first, then the plain one and the sizes of the effect."""
    parts = [
        f"{arm_title(comparison.arm)} against {arm_title(comparison.against)}: "
        + told(comparison.corrected, scale, comparison.corrected_holm),
        told(comparison.plain, scale, comparison.plain_holm),
    ]
    size = comparison.difference
    if size.d_z is not None:
        parts.append(f"d_z {RATIO.number(size.d_z)}, g_z {RATIO.number(size.g_z)} over {size.n} {size.counts}")
    return "; ".join(parts)
