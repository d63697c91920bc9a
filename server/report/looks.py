"""What the classifiers look at: the share of Grad-CAM's mass inside lesions, and whether they see that a region was
refilled."""

from common.figures.formatting import PERCENT, Interval, Scale
from common.report.arms import ChartSet, arm_title, in_order
from common.report.charts import IntervalRow, interval_chart, shared_span
from common.report.explanations import ABOVE_CHANCE, BY_REFILLING
from common.report.figures import figure_cell
from common.report.tables import Table, word
from common.results.classifier import ClassifierScores
from common.results.study import Results
from server.report.scopes import arms_scopes, titled

BOUND = 0.03
"""A refilled region may change the share of slices called tumour by so much before it is called a shortcut."""

CHANCE = "evenly spread"


def attention_table(results: Results) -> Table | None:
    """One row an arm and scope; None if no map was measured."""
    keys = ("attention", ("attention", "chance"), ABOVE_CHANCE)
    rows = [
        [word(titled(results, scope)), word(arm_title(arm)), *(figure_cell(scores.get(key)) for key in keys)]
        for scope, arm, scores in _every(results)
        if scores.get("attention") is not None
    ]
    if not rows:
        return None
    caption = (
        "Share of Grad-CAM's mass inside the lesion, mean over test slices with a tumour; with it what a map spread "
        "evenly over the foreground would have there, and the paired difference. With 95% interval over patients."
    )
    return Table(caption, ["trained", "arm", "inside the lesion", CHANCE, "above it"], rows)


def attention_charts(results: Results) -> ChartSet | None:
    """The same as dots with intervals, a panel a scope; the band is what an even spread would have."""
    measured = [(scope, arm, scores) for scope, arm, scores in _every(results) if scores.get("attention")]
    if not measured:
        return None
    both = ("attention", ("attention", "chance"))
    span = shared_span([scores.get(key) for _, _, scores in measured for key in both])
    panels = []
    for scope in dict.fromkeys(scope for scope, _, _ in measured):
        of_scope = [(arm, scores) for s, arm, scores in measured if s == scope]
        rows = [IntervalRow(arm_title(arm), scores.get("attention")) for arm, scores in of_scope]
        # The test slices are the same for every arm, and so is what an even spread has in their lesions.
        rows.append(IntervalRow(CHANCE, of_scope[0][1].get(("attention", "chance"))))
        panels.append(interval_chart(titled(results, scope), rows, span=span, scale=PERCENT, baseline=CHANCE))
    return ChartSet("Mass inside the lesion, %", panels)


def shortcut_table(results: Results) -> Table | None:
    """One row an arm and scope; None if it was not measured."""
    keys = (("called_tumour", "untouched"), ("called_tumour", "refilled"), BY_REFILLING)
    rows = [
        [
            word(titled(results, scope)),
            word(arm_title(arm)),
            *(figure_cell(scores.get(key)) for key in keys),
            word(within(scores.get(BY_REFILLING))),
        ]
        for scope, arm, scores in _every(results)
        if scores.get(keys[0]) is not None
    ]
    if not rows:
        return None
    caption = (
        "Healthy test slices called tumour: untouched, and with a region blanked and refilled by the generator without "
        "a lesion. The difference, paired over patients, is what refilling alone gives away. With 95% interval over "
        "patients."
    )
    bound = f"within {Scale(100, 0).number(BOUND)} points"
    return Table(caption, ["trained", "arm", "untouched", "refilled", "difference", bound], rows)


def within(difference: Interval | None) -> str:
    """
    >>> from common.metrics.bootstrap import Estimate
    >>> within(Estimate(0.01, -0.02, 0.04)), within(Estimate(0.05))
    ('yes, its interval not', 'no')
    """
    if difference is None or difference.value is None:
        return "not told"
    if abs(difference.value) > BOUND:
        return "no"
    if difference.low is None or difference.high is None:
        return "yes, without an interval"
    inside = difference.low >= -BOUND and difference.high <= BOUND
    return "yes, and its interval" if inside else "yes, its interval not"


def _every(results: Results) -> list[tuple[str, str, ClassifierScores]]:
    return [(scope, arm, its) for scope, by_arm in arms_scopes(results).items() for arm, its in in_order(by_arm)]
