"""The forest plot of the first screen: what each arm gains over real slices only, wherever it was trained or tested."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from markupsafe import Markup

from common.figures.formatting import MISSING, POINTS
from common.metrics.bootstrap import Estimate
from common.report.arms import arm_title
from common.report.axes import nice_ticks, tick_labels
from common.report.charts import Chart, shared_span
from common.report.marks import MARKS, mark, point
from common.results.classifier import PooledGain
from common.results.study import Results
from common.study.experiment import ARMS
from server.report.findings import AUGMENTED
from server.report.scopes import alone, ordered, titled

PLAIN_POINTS = replace(POINTS, unit="")

MOST = 8
"""Scopes in the plot; more sites than fit stand in the table of gains alone."""

_HEADING, _PITCH, _GAP = 15.0, 8.5, 6.0


def forest(results: Results) -> Chart | None:
    """Dots with 95% intervals around a line at no gain, grouped by scope; None without a gain.

    Horizontal positions are shares of the width, so that the plot fits a phone and a wide screen without shrinking its
    labels.
    """
    scopes = _scopes(results)
    gains = {scope: _by_arm([one for one in results.gains if one.scope == scope]) for scope in scopes}
    shown = [one for of_scope in gains.values() for one in of_scope]
    if not shown:
        return None
    # Zero belongs on the axis: a plot of gains that leaves it out cannot be read.
    low, high = shared_span([*(one.accuracy for one in shown), Estimate(0.0)], -1.0, 1.0)
    ticks = [tick for tick in nice_ticks(low, high, 7) if low - 1e-9 <= tick <= high + 1e-9]

    def at(value: float) -> float:
        return 2 + 96 * (min(high, max(low, value)) - low) / (high - low)

    rows: list[Markup] = []
    y = 0.0
    for scope in scopes:
        rows.append(_label(0, y + 12, titled(results, scope), "start", "name"))
        lead = next((one for one in gains[scope] if one.arm == AUGMENTED), None)
        figure = PLAIN_POINTS.interval(lead.accuracy) if lead else MISSING
        rows.append(_label(100, y + 12, figure, "end", "end s2" if lead else ""))
        y += _HEADING
        for one in gains[scope]:
            rows.append(_row(one, at, y + _PITCH / 2, titled(results, scope)))
            y += _PITCH
        y += _GAP
    lines = [_rule("grid", at(tick), y) for tick in ticks] + [_rule("level", at(0.0), y)]
    labels = tick_labels([tick * PLAIN_POINTS.factor for tick in ticks])
    axis = [_label(at(tick), y + 15, text, "middle") for tick, text in zip(ticks, labels, strict=True)]
    values = "; ".join(
        f"{titled(results, scope)}: "
        + ", ".join(f"{arm_title(one.arm)} {PLAIN_POINTS.interval(one.accuracy)}" for one in gains[scope])
        for scope in scopes
    )
    title = "Gain in accuracy over real images only, percentage points"
    svg = Markup('<svg class="forest" height="{:.0f}" role="img" aria-label="{}">{}</svg>').format(
        y + 20, f"{title}. {values}.", Markup("").join([*lines, *rows, *axis])
    )
    arms = dict.fromkeys(one.arm for one in shown)
    legend = [(_swatch(arm), arm_title(arm)) for arm in sorted(arms, key=_place)]
    return Chart(title, svg, legend)


def left_out(results: Results) -> int:
    """How many scopes with gains the plot does not show."""
    return len(ordered(one.scope for one in results.gains)) - len(_scopes(results))


def _scopes(results: Results) -> list[str]:
    """All that are no single site, then as many sites as there is room for."""
    found = ordered(one.scope for one in results.gains)
    sites = alone(dict.fromkeys(found))
    whole = [scope for scope in found if scope not in sites]
    return [*whole, *list(sites)[: max(0, MOST - len(whole))]]


def _by_arm(gains: Sequence[PooledGain]) -> list[PooledGain]:
    return sorted((one for one in gains if one.accuracy.value is not None), key=lambda one: _place(one.arm))


def _place(arm: str) -> int:
    """Its colour and mark, as in the curves."""
    return ARMS.index(arm) if arm in ARMS else len(ARMS)


def _style(arm: str) -> str:
    return f"s{_place(arm) % len(MARKS) + 1}"


def _row(one: PooledGain, at: Callable[[float], float], y: float, where: str) -> Markup:
    gain, style = one.accuracy, _style(one.arm)
    drawn = []
    if gain.low is not None and gain.high is not None:
        drawn.append(
            Markup('<line class="whisker {}" x1="{:.2f}%" y1="{y:.1f}" x2="{:.2f}%" y2="{y:.1f}"/>').format(
                style, at(gain.low), at(gain.high), y=y
            )
        )
    # A polygon knows no shares of the width; the drawing that it stands in does.
    drawn.append(
        Markup('<svg class="at" x="{:.2f}%" y="{:.1f}">{}</svg>').format(
            at(gain.value or 0.0), y, mark(_place(one.arm), style, 0, 0)
        )
    )
    return point(f"{arm_title(one.arm)}, {where}: {PLAIN_POINTS.interval(gain)}", *drawn)


def _label(x: float, y: float, text: str, anchor: str, style: str = "") -> Markup:
    return Markup('<text x="{:.2f}%" y="{:.1f}" text-anchor="{}" class="{}">{}</text>').format(
        x, y, anchor, style, text
    )


def _rule(style: str, x: float, height: float) -> Markup:
    return Markup('<line class="{}" x1="{x:.2f}%" y1="0" x2="{x:.2f}%" y2="{:.1f}"/>').format(style, height, x=x)


def _swatch(arm: str) -> Markup:
    return Markup('<svg class="swatch" viewBox="0 0 22 12" aria-hidden="true">{}</svg>').format(
        mark(_place(arm), _style(arm), 11, 6)
    )
