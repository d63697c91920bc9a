"""What each arm gains over real slices only on the fixed test patients, averaged over training sets."""

from collections.abc import Sequence

from common.report.arms import ChartSet, arm_title
from common.report.charts import IntervalRow, interval_chart, shared_span
from common.report.formatting import AUC, POINTS, Scale
from common.report.tables import Cell, Table, figure, number, word
from common.results import Results
from common.results_classifier import Interval, PooledGain, Spread
from server.report.scopes import ordered, titled

PLAIN_POINTS = Scale(POINTS.factor, POINTS.decimals, sign=True)


def gain_charts(results: Results) -> list[ChartSet]:
    """Dots and intervals of the gain in accuracy, then of that in AUC, a panel a scope, with a line at no gain; empty
    without a gain."""
    if not results.gains:
        return []
    return [
        _charts(results, "Gain in accuracy, percentage points", PLAIN_POINTS, [one.accuracy for one in results.gains]),
        _charts(results, "Gain in AUC", AUC.signed, [one.auc for one in results.gains]),
    ]


def gain_table(results: Results) -> Table | None:
    """One row an arm and scope; None without a gain."""
    if not results.gains:
        return None
    rows = [
        [
            word(titled(results, scope)),
            word(arm_title(one.arm)),
            figure(one.accuracy, PLAIN_POINTS),
            _deviation(one.accuracy_spread, PLAIN_POINTS),
            figure(one.auc, AUC.signed),
            _deviation(one.auc_spread, AUC),
            number(one.trials),
        ]
        for scope in ordered(one.scope for one in results.gains)
        for one in results.gains
        if one.scope == scope
    ]
    caption = (
        "Gain over the same classifier trained on real slices only, paired over the fixed test patients: mean over n "
        "training sets with a 95% interval over patients; ± the standard deviation over training sets. Accuracy in "
        "percentage points."
    )
    return Table(caption, ["trained or tested", "arm", "accuracy", "±", "AUC", "±", "n"], rows)


def _charts(results: Results, title: str, scale: Scale, intervals: Sequence[Interval]) -> ChartSet:
    # Zero belongs on the axis: a chart of gains that leaves it out cannot be read.
    span = shared_span([*intervals, Interval(mean=0.0)], -1.0, 1.0)
    of_gain = dict(zip(map(id, results.gains), intervals, strict=True))

    def rows(gains: Sequence[PooledGain]) -> list[IntervalRow]:
        return [IntervalRow(arm_title(one.arm), of_gain[id(one)]) for one in gains]

    panels = [
        interval_chart(
            titled(results, scope),
            rows([one for one in results.gains if one.scope == scope]),
            span=span,
            scale=scale,
            level=0.0,
        )
        for scope in ordered(one.scope for one in results.gains)
    ]
    return ChartSet(title, panels)


def _deviation(spread: Spread | None, scale: Scale) -> Cell:
    unsigned = Scale(scale.factor, scale.decimals)
    return number(None if spread is None or spread.deviation is None else unsigned.number(spread.deviation))
