"""What the classifiers look at: the share of Grad-CAM's mass inside lesions, and whether they see that a region was
refilled."""

from common.report.arms import ChartSet, arm_title, in_order
from common.report.charts import IntervalRow, interval_chart, shared_span
from common.report.formatting import PERCENT, POINTS, Scale
from common.report.tables import Table, figure, word
from common.results import Results
from common.results_classifier import ArmScores, Interval
from server.report.scopes import arms_scopes, titled

BOUND = 0.03
"""A refilled region may change the share of slices called tumour by so much before it is called a shortcut."""

CHANCE = "evenly spread"


def attention_table(results: Results) -> Table | None:
    """One row an arm and scope; None if no map was measured."""
    rows = [
        [
            word(titled(results, scope)),
            word(arm_title(arm)),
            figure(looks.share, PERCENT),
            figure(looks.chance, PERCENT),
            figure(looks.above, Scale(POINTS.factor, POINTS.decimals, sign=True)),
        ]
        for scope, arm, scores in _every(results)
        if (looks := scores.attention) is not None
    ]
    if not rows:
        return None
    caption = (
        "Share of Grad-CAM's mass inside the lesion, mean over test slices with a tumour; beside it what a map spread "
        "evenly over the foreground would have there, and the paired difference in percentage points. With 95% "
        "interval over patients."
    )
    return Table(caption, ["trained", "arm", "inside the lesion", CHANCE, "above it"], rows)


def attention_charts(results: Results) -> ChartSet | None:
    """The same as dots with intervals, a panel a scope; the band is what an even spread would have."""
    measured = [(scope, arm, scores.attention) for scope, arm, scores in _every(results) if scores.attention]
    if not measured:
        return None
    span = shared_span([interval for _, _, looks in measured for interval in (looks.share, looks.chance)])
    panels = []
    for scope in dict.fromkeys(scope for scope, _, _ in measured):
        of_scope = [(arm, looks) for s, arm, looks in measured if s == scope]
        rows = [IntervalRow(arm_title(arm), looks.share) for arm, looks in of_scope]
        # The test slices are the same for every arm, and so is what an even spread has in their lesions.
        rows.append(IntervalRow(CHANCE, of_scope[0][1].chance))
        panels.append(interval_chart(titled(results, scope), rows, span=span, scale=PERCENT, baseline=CHANCE))
    return ChartSet("Mass inside the lesion, %", panels)


def shortcut_table(results: Results) -> Table | None:
    """One row an arm and scope; None if it was not measured."""
    rows = [
        [
            word(titled(results, scope)),
            word(arm_title(arm)),
            figure(sees.untouched, PERCENT),
            figure(sees.refilled, PERCENT),
            figure(sees.difference, Scale(POINTS.factor, POINTS.decimals, sign=True)),
            word(within(sees.difference)),
        ]
        for scope, arm, scores in _every(results)
        if (sees := scores.shortcut) is not None
    ]
    if not rows:
        return None
    caption = (
        "Healthy test slices called tumour: untouched, and with a region blanked and refilled by the generator without "
        "a lesion. The difference, in percentage points and paired over patients, is what refilling alone gives away. "
        "With 95% interval over patients."
    )
    bound = f"within {Scale(100, 0).number(BOUND)} points"
    return Table(caption, ["trained", "arm", "untouched", "refilled", "difference", bound], rows)


def within(difference: Interval) -> str:
    """
    >>> within(Interval(mean=0.01, low=-0.02, high=0.04)), within(Interval(mean=0.05))
    ('yes, its interval not', 'no')
    """
    if difference.mean is None:
        return "not told"
    if abs(difference.mean) > BOUND:
        return "no"
    if difference.low is None or difference.high is None:
        return "yes, without an interval"
    inside = difference.low >= -BOUND and difference.high <= BOUND
    return "yes, and its interval" if inside else "yes, its interval not"


def _every(results: Results) -> list[tuple[str, str, ArmScores]]:
    return [(scope, arm, its) for scope, by_arm in arms_scopes(results).items() for arm, its in in_order(by_arm)]
