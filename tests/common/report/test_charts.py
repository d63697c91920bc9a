"""Charts place figures where they belong and carry them as text too."""

import math
import re
from itertools import pairwise
from xml.etree import ElementTree

from common.figures.formatting import AUC
from common.metrics.bootstrap import Estimate
from common.report.charts import Chart, IntervalRow, Series, interval_chart, line_chart, shared_span


def drawn(chart: Chart | None) -> ElementTree.Element:
    assert chart is not None
    return ElementTree.fromstring(str(chart.svg))


def points(svg: ElementTree.Element, style: str) -> list[tuple[float, float]]:
    line = next(e for e in svg.iter("polyline") if e.get("class") == f"line {style}")
    return [tuple(map(float, pair.split(","))) for pair in line.get("points", "").split()]  # type: ignore[misc]


def lines(*series: Series) -> Chart | None:
    return line_chart("SSIM", series, x_title="round", written=AUC.number)


def test_a_line_rises_where_its_figures_rise() -> None:
    (x1, y1), (x2, y2), (x3, y3) = points(drawn(lines(Series("a", [(1, 0.2), (2, 0.8), (3, 0.5)]))), "s1")
    assert x1 < x2 < x3
    assert y2 < y3 < y1
    assert math.isclose((y1 - y3) / (y1 - y2), 0.5, abs_tol=0.01)


def test_the_floor_is_on_the_same_axis_and_drawn_apart() -> None:
    svg = drawn(lines(Series("a", [(1, 0.2), (2, 0.6)]), Series("floor", [(1, 0.4), (2, 0.4)], floor=True)))
    own, floor = points(svg, "s1"), points(svg, "floor")
    assert math.isclose(floor[0][1], (own[0][1] + own[1][1]) / 2, abs_tol=0.1)


def test_a_chart_tells_its_figures_to_those_who_cannot_see_it() -> None:
    svg = drawn(lines(Series("a", [(1, 0.25), (2, 0.75)])))
    assert svg.get("role") == "img"
    assert svg.get("aria-label") == "SSIM. a: 1: 0.250, 2: 0.750."


def test_every_mark_says_its_value_on_hover() -> None:
    series = [Series("a", [(1, 0.25), (2, 0.75)], deviations={2: 0.1}), Series("floor", [(1, 0.4)], floor=True)]
    assert [e.text for e in drawn(lines(*series)).iter("title")] == [
        "a: 0.250 (round 1)",
        "a: 0.750 ± 0.100 (round 2)",
    ]
    rows = [IntervalRow("real only", Estimate(0.8, 0.7, 0.9)), IntervalRow("blob", None)]
    panel = interval_chart("AUC", rows, span=(0, 1), scale=AUC)
    assert [e.text for e in drawn(panel).iter("title")] == ["real only: 0.800 (0.700 to 0.900)"]


def test_figures_that_are_not_finite_are_left_out() -> None:
    assert len(points(drawn(lines(Series("a", [(1, 0.2), (2, math.nan), (3, math.inf), (4, 0.3)]))), "s1")) == 2
    assert lines(Series("a", [(1, math.nan)])) is None
    assert lines() is None


def test_one_point_is_drawn_inside_the_panel() -> None:
    ((x, y),) = points(drawn(lines(Series("a", [(1, 0.2)]))), "s1")
    assert 0 < x < 340
    assert 0 < y < 190


def test_last_values_do_not_overlap() -> None:
    svg = drawn(lines(*(Series(f"s{i}", [(1, 0.1 * i), (2, 0.5 + 1e-3 * i)]) for i in range(5))))
    heights = sorted(float(e.get("y", "")) for e in svg.iter("text") if "end" in (e.get("class") or ""))
    assert len(heights) == 5
    assert min(b - a for a, b in pairwise(heights)) > 12


def test_only_whole_rounds_are_labelled() -> None:
    svg = drawn(line_chart("l", [Series("a", [(r, r) for r in range(1, 41)])], x_title="round", written=str))
    labels = [e.text or "" for e in svg.iter("text") if e.get("text-anchor") == "middle"]
    assert labels[:-1]
    assert all(re.fullmatch(r"\d+", label) for label in labels[:-1])


def test_names_are_escaped() -> None:
    chart = lines(Series("<script>alert(1)</script>", [(1, 0.1), (2, 0.2)]), Series("b", [(1, 0.1)]))
    assert chart is not None
    assert "<script>" not in chart.svg


def rows(**intervals: Estimate | None) -> list[IntervalRow]:
    return [IntervalRow(name, interval) for name, interval in intervals.items()]


def test_a_dot_lies_inside_its_interval_and_the_band_is_the_baselines() -> None:
    its = rows(a=Estimate(value=0.5, low=0.4, high=0.7), b=Estimate(value=0.6, low=0.5, high=0.9))
    svg = drawn(interval_chart("AUC", its, span=(0, 1), scale=AUC, baseline="a"))
    whiskers = [e for e in svg.iter("line") if "whisker" in (e.get("class") or "")]
    dots = list(svg.iter("circle"))
    for whisker, dot in zip(whiskers, dots, strict=True):
        assert float(whisker.get("x1", "")) < float(dot.get("cx", "")) < float(whisker.get("x2", ""))
    band = next(svg.iter("rect"))
    assert band.get("x") == whiskers[0].get("x1")


def test_a_suppressed_figure_is_said_not_drawn() -> None:
    svg = drawn(interval_chart("AUC", rows(a=Estimate(value=None), b=None), span=(0, 1), scale=AUC))
    assert [e.text for e in svg.iter("text") if e.text == "no figure"] == ["no figure"] * 2
    assert not list(svg.iter("circle"))


def test_a_shared_axis_holds_every_interval() -> None:
    assert shared_span([Estimate(value=0.86, low=0.72, high=0.93), None]) == (0.7, 0.95)
    assert shared_span([None]) == (0.0, 1.0)
