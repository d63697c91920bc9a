"""What each arm gains over real slices only on the fixed test patients, averaged over training sets."""

from dataclasses import replace

from common.figures.metric import Metric
from common.figures.registry import METRICS
from common.metrics.bootstrap import Estimate
from common.report.arms import ChartSet, arm_title
from common.report.charts import IntervalRow, interval_chart, shared_span
from common.report.figures import figure_cell
from common.report.tables import Cell, Table, number, word
from common.results.classifier import PooledGain
from common.results.study import Results
from server.report.scopes import ordered, titled


def gain_charts(results: Results) -> list[ChartSet]:
    """Dots and intervals of the gain in accuracy, then of that in AUC, a panel a scope, with a line at no gain; empty
    without a gain."""
    if not results.gains:
        return []
    return [_charts(results, metric) for metric in _metrics(results)]


def _metrics(results: Results) -> list[Metric]:
    return [METRICS[key] for key in dict.fromkeys(one.metric for gain in results.gains for one in gain.figures)]


def gain_table(results: Results) -> Table | None:
    """One row an arm and scope; None without a gain."""
    if not results.gains:
        return None
    metrics = _metrics(results)
    rows = [
        [
            word(titled(results, scope)),
            word(arm_title(one.arm)),
            *(cell for metric in metrics for cell in _cells(one, metric)),
            number(one.trials),
        ]
        for scope in ordered(one.scope for one in results.gains)
        for one in results.gains
        if one.scope == scope
    ]
    caption = (
        "Gain over the same classifier trained on real slices only, paired over the fixed test patients: mean over n "
        "training sets with a 95% interval over patients; ± the standard deviation over training sets."
    )
    columns = [name for metric in metrics for name in (metric.title, "±")]
    return Table(caption, ["trained or tested", "arm", *columns, "n"], rows)


def _charts(results: Results, metric: Metric) -> ChartSet:
    # Zero belongs on the axis: a chart of gains that leaves it out cannot be read.
    intervals = [gain.gain(metric.key) for gain in results.gains]
    span = shared_span([*intervals, Estimate(0.0)], -1.0, 1.0)
    scale = metric.differences
    panels = [
        interval_chart(
            titled(results, scope),
            [IntervalRow(arm_title(one.arm), one.gain(metric.key)) for one in results.gains if one.scope == scope],
            span=span,
            scale=replace(scale, unit=""),
            level=0.0,
        )
        for scope in ordered(one.scope for one in results.gains)
    ]
    unit = f", {scale.unit}" if scale.unit else ""
    return ChartSet(f"Gain in {metric.title}{unit}", panels)


def _cells(one: PooledGain, metric: Metric) -> tuple[Cell, Cell]:
    spread = one.spreads.get(metric.key)
    unsigned = replace(metric.differences, sign=False)
    return figure_cell(one.gain(metric.key)), number(unsigned.number(spread.deviation if spread else None))
