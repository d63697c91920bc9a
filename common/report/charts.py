"""Small charts as inline SVG.

Colours and type come from the page's style sheet by class, so that a chart follows light, dark and print like the text
around it. A panel is drawn about as wide as a phone's column and repeated, never shrunk: its labels stay legible.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from markupsafe import Markup

from common.figures.formatting import Interval, Scale
from common.report.axes import nice_ticks, tick_labels
from common.report.marks import WIDTH, drawing, line, mark, point, text


@dataclass(frozen=True)
class Series:
    """One line of a chart.

    Attributes:
        name: what the legend says.
        points: (x, y) in ascending x.
        floor: True for a level to compare with; drawn dashed (a second one dotted) and without marks.
        deviations: by x, half the height of the bar through its point; an x without one has no bar.
        place: which colour and mark, so that a line looks alike in charts of other lines; None: its place among these.
    """

    name: str
    points: Sequence[tuple[float, float]]
    floor: bool = False
    deviations: Mapping[float, float] = field(default_factory=dict)
    place: int | None = None


@dataclass(frozen=True)
class Chart:
    """A finished chart: its SVG, its title and what stands in its legend (class and name of each series)."""

    title: str
    svg: Markup
    legend: Sequence[tuple[Markup, str]] = ()


def line_chart(
    title: str,
    series: Sequence[Series],
    *,
    x_title: str,
    written: Callable[[float], str],
    chosen: float | None = None,
    height: int = 190,
    x_ticks: Sequence[float] | None = None,
    x_labels: Mapping[float, str] | None = None,
) -> Chart | None:
    """Lines over rounds or steps; the last value of each line is written at its end.

    Args:
        title: what is shown, with its unit.
        series: lines; points that are not finite (a loss that diverged) and lines without points are left out.
        x_title: what the x axis counts.
        written: how a value is written, e.g. ``AUC.number``.
        chosen: x that a thin vertical line marks.
        height: of the drawing, in CSS pixels.
        x_ticks: where the x axis is labelled; None stands for whole numbers.
        x_labels: what stands at some x instead of a number, in place of ``x_ticks``.

    Returns:
        The chart, or None if no series has a point.
    """
    finite = [replace(one, points=[(x, y) for x, y in one.points if math.isfinite(y)]) for one in series]
    series = [one for one in finite if one.points]
    if not series:
        return None
    xs = [x for one in series for x, _ in one.points]
    ys = [y + sign * one.deviations.get(x, 0.0) for one in series for x, y in one.points for sign in (-1, 1)]
    named = x_labels or {}
    if named:
        x_ticks = list(named)
    ticks = nice_ticks(min(ys), max(ys), 4)
    left, right, top, bottom = 46.0, WIDTH - 52.0, 12.0, height - 36.0
    x_low, x_high = min(xs), max(xs)

    def at_x(x: float) -> float:
        return (left + right) / 2 if x_high == x_low else left + (x - x_low) / (x_high - x_low) * (right - left)

    def at_y(y: float) -> float:
        return bottom - (y - ticks[0]) / (ticks[-1] - ticks[0]) * (bottom - top)

    parts: list[Markup] = []
    for tick, label in zip(ticks, tick_labels(ticks), strict=True):
        parts.append(line("grid", left, at_y(tick), right, at_y(tick)))
        parts.append(text(left - 6, at_y(tick) + 4, label, "end"))
    for x in _whole_ticks(x_low, x_high) if x_ticks is None else x_ticks:
        parts.append(text(at_x(x), bottom + 17, named.get(x, f"{x:g}"), "middle"))
    parts.append(text((left + right) / 2, height - 3, x_title, "middle"))
    if chosen is not None and x_low <= chosen <= x_high:
        parts.append(line("chosen", at_x(chosen), top - 4, at_x(chosen), bottom))
    ends = _spread([at_y(one.points[-1][1]) for one in series], 13, top, bottom)
    styles = _styles(series)
    for index, (one, style, end) in enumerate(zip(series, styles, ends, strict=True)):
        path = " ".join(f"{at_x(x):.1f},{at_y(y):.1f}" for x, y in one.points)
        parts.append(Markup('<polyline class="line {}" points="{}"/>').format(style, path))
        # Bars of several lines at one x stand beside each other.
        aside = 3.0 * (index - (len(series) - 1) / 2)
        for x, y in one.points:
            half = one.deviations.get(x)
            drawn = [] if one.floor else [mark(_place(index, one), style, at_x(x), at_y(y))]
            if half is not None:
                ends_at = (at_y(y - half), at_y(y + half))
                drawn.insert(0, line(f"bar {style}", at_x(x) + aside, ends_at[0], at_x(x) + aside, ends_at[1]))
            if drawn:
                spread = "" if half is None else f" ± {written(half)}"
                words = f"{one.name}: {written(y)}{spread} ({x_title} {named.get(x, f'{x:g}')})"
                parts.append(point(words, *drawn))
        last = one.points[-1]
        parts.append(text(right + 6, end + 4, written(last[1]), "start", f"end {style}"))
    values = "; ".join(
        f"{one.name}: " + ", ".join(f"{named.get(x, f'{x:g}')}: {written(y)}" for x, y in _thinned(one.points))
        for one in series
    )
    legend = [
        (_swatch(_place(index, one), style, one.floor), one.name)
        for index, (one, style) in enumerate(zip(series, styles, strict=True))
    ]
    return Chart(title, drawing(title, values, height, parts), legend if len(series) > 1 else ())


@dataclass(frozen=True)
class IntervalRow:
    """One dot with its 95% interval; ``interval`` None or without a mean is written as ``no figure``."""

    name: str
    interval: Interval | None


def interval_chart(
    title: str,
    rows: Sequence[IntervalRow],
    *,
    span: tuple[float, float],
    scale: Scale,
    baseline: str | None = None,
    level: float | None = None,
) -> Chart:
    """Dots with intervals, one row an arm, on an axis that panels share.

    Args:
        title: what the panel shows.
        rows: top to bottom.
        span: ends of the axis, in the figure's own unit; the same for every panel of a set.
        scale: how a value is written.
        baseline: the row whose interval is continued as a band behind the others.
        level: where a thin line stands, e.g. 0 for differences.
    """
    pitch, top, left, right = 27.0, 8.0, 140.0, WIDTH - 14.0
    bottom = top + pitch * len(rows)
    height = int(bottom + 24)
    ticks = [t for t in nice_ticks(*span, 5) if span[0] - 1e-9 <= t <= span[1] + 1e-9]

    def at(value: float) -> float:
        share = (value - span[0]) / (span[1] - span[0])
        return left + min(1.0, max(0.0, share)) * (right - left)

    parts: list[Markup] = []
    for row in rows:
        band = row.interval
        if row.name != baseline or band is None or band.value is None:
            continue
        if band.low is not None and band.high is not None:
            parts.append(
                Markup('<rect class="band" x="{:.1f}" y="{}" width="{:.1f}" height="{}"/>').format(
                    at(band.low), top, at(band.high) - at(band.low), bottom - top
                )
            )
        parts.append(line("chosen", at(band.value), top, at(band.value), bottom))
    for tick, label in zip(ticks, tick_labels([tick * scale.factor for tick in ticks]), strict=True):
        parts.append(line("grid", at(tick), top, at(tick), bottom))
        parts.append(text(at(tick), bottom + 16, label, "middle"))
    if level is not None and span[0] <= level <= span[1]:
        parts.append(line("level", at(level), top - 4, at(level), bottom))
    for index, row in enumerate(rows):
        y = top + pitch * (index + 0.5)
        parts.append(text(left - 10, y + 4, row.name, "end", "name"))
        value = row.interval
        if value is None or value.value is None:
            parts.append(text(left + 8, y + 4, "no figure", "start"))
            continue
        style = "s5" if row.name == baseline else "s1"
        drawn = [Markup('<circle class="mark {}" cx="{:.1f}" cy="{:.1f}" r="4.5"/>').format(style, at(value.value), y)]
        if value.low is not None and value.high is not None:
            drawn.insert(0, line(f"whisker {style}", at(value.low), y, at(value.high), y))
        parts.append(point(f"{row.name}: {scale.interval(value)}", *drawn))
    values = "; ".join(f"{row.name}: {scale.interval(row.interval)}" for row in rows)
    return Chart(title, drawing(title, values, height, parts))


def shared_span(intervals: Sequence[Interval | None], lowest: float = 0.0, highest: float = 1.0) -> tuple[float, float]:
    """An axis that holds every interval with round ends, within ``[lowest, highest]``."""
    values = [v for i in intervals if i is not None for v in (i.value, i.low, i.high) if v is not None]
    if not values:
        return lowest, highest
    ticks = nice_ticks(min(values), max(values), 8)
    return max(lowest, ticks[0]), min(highest, ticks[-1])


def _styles(series: Sequence[Series]) -> list[str]:
    """The class of each line: a colour by its place, or that of the floors."""
    floors = [index for index, one in enumerate(series) if one.floor]
    return [
        f"s{_place(index, one) % 6 + 1}" if not one.floor else "floor" if index == floors[0] else "floor second"
        for index, one in enumerate(series)
    ]


def _place(index: int, one: Series) -> int:
    return index if one.place is None else one.place


def _swatch(index: int, style: str, floor: bool) -> Markup:
    shape = Markup("") if floor else mark(index, style, 11, 6)
    return Markup('<svg class="swatch" viewBox="0 0 22 12" aria-hidden="true">{}{}</svg>').format(
        Markup('<polyline class="line {}" points="0,6 22,6"/>').format(style), shape
    )


def _whole_ticks(low: float, high: float) -> list[float]:
    """Rounds and steps are whole: never a tick at 2.5."""
    if high - low <= 7:
        return [low + i for i in range(int(high - low) + 1)]
    return [t for t in nice_ticks(low, high, 5) if low <= t <= high]


def _spread(positions: Sequence[float], gap: float, top: float, bottom: float) -> list[float]:
    """Moves labels apart until neighbours are ``gap`` from each other, in their order, inside the panel."""
    order = sorted(range(len(positions)), key=lambda i: positions[i])
    moved = list(positions)
    for before, after in pairwise(order):
        moved[after] = max(moved[after], moved[before] + gap)
    overshoot = max(0.0, max(moved) - bottom)
    for i in order:
        moved[i] -= overshoot
    for before, after in pairwise(order):
        moved[after] = max(moved[after], moved[before] + gap, top)
    return moved


def _thinned(points: Sequence[tuple[float, float]], most: int = 12) -> Sequence[tuple[float, float]]:
    step = max(1, -(-len(points) // most))
    return [*points[::step], *([points[-1]] if (len(points) - 1) % step else [])]
