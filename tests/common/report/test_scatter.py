"""Every slice is a point, both axes have one scale, and kinds differ by more than their colour."""

import re

import numpy as np
import pytest

from common.report.scatter import Cloud, scatter_chart


def drawn(cloud: Cloud, *others: Cloud) -> tuple[str, np.ndarray]:
    chart = scatter_chart("features", [cloud, *others], x_title="first", y_title="second")
    assert chart is not None
    circles = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', str(chart.svg))
    return str(chart.svg), np.array(circles, dtype=float)


def test_distances_are_kept_on_both_axes_and_up_is_up() -> None:
    points = np.random.default_rng(0).normal(size=(40, 2)) * [5, 1]
    svg, placed = drawn(Cloud("real", points, 1, hollow=False))
    assert placed.shape == (40, 2)
    ratio = np.ptp(placed, axis=0) / np.ptp(points, axis=0)
    assert ratio[0] == pytest.approx(ratio[1], rel=0.01)
    assert placed[points[:, 1].argmax(), 1] == placed[:, 1].min()
    assert placed[points[:, 0].argmax(), 0] == placed[:, 0].max()
    width, height = map(float, re.search(r'viewBox="0 0 (\d+) (\d+)"', svg).groups())  # type: ignore[union-attr]
    assert (placed >= 0).all()
    assert (placed <= [width, height]).all()


def test_kinds_have_marks_and_their_number_of_points() -> None:
    real, synthetic = np.zeros((3, 2)), np.ones((5, 2))
    chart = scatter_chart(
        "features",
        [Cloud("real <healthy>", real, 1, hollow=False), Cloud("synthetic", synthetic, 1, hollow=True)],
        x_title="first",
        y_title="second",
    )
    assert chart is not None
    assert [name for _, name in chart.legend] == ["real <healthy> (n = 3)", "synthetic (n = 5)"]
    svg = str(chart.svg)
    assert svg.count("<circle ") == 3
    assert svg.count("<path ") == 5
    assert "real &lt;healthy&gt; (n = 3), synthetic (n = 5)" in svg
    assert "first</text>" in svg
    assert "second</text>" in svg


def test_one_point_is_in_the_middle_and_none_is_no_chart() -> None:
    svg, placed = drawn(Cloud("one", np.array([[3.0, 4.0]]), 1, hollow=False), Cloud("none", np.zeros((0, 2)), 2, True))
    assert placed.tolist() == [[178, 154]]
    assert "none" not in svg.replace("fill:none", "")
    assert scatter_chart("t", [Cloud("none", np.zeros((0, 2)), 1, False)], x_title="", y_title="") is None
