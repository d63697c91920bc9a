"""Reliability diagrams: how often a slice shows a tumour, by the probability that a classifier gave it."""

from common.figures.formatting import SIMILARITY
from common.report.arms import Scores, arm_title, in_order
from common.report.charts import Chart, Series, line_chart

_DIAGONAL = Series("as predicted", [(0.0, 0.0), (1.0, 1.0)], floor=True)


def reliability_charts(scores: Scores) -> list[Chart]:
    """One panel an arm whose curve is known: the share of tumour slices over the mean probability, bin by bin.

    A classifier whose probabilities can be taken at their word lies on the dashed diagonal; below it, it is too sure
    that there is a tumour.
    """
    panels = []
    for arm, its in in_order(scores):
        curve = its.reliability or []
        points = [(round(one.predicted, 3), one.positive) for one in curve]
        chart = line_chart(
            arm_title(arm),
            [Series("share of tumour slices", points), _DIAGONAL],
            x_title="mean probability of a tumour",
            written=SIMILARITY.number,
            x_ticks=(0, 0.25, 0.5, 0.75, 1),
        )
        if points and chart is not None:
            panels.append(chart)
    return panels
