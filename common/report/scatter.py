"""Scatter plots as inline SVG: a point a slice, real ones filled, synthetic ones as rings."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from common.report.charts import Chart
from common.report.marks import WIDTH

_FILLED = "fill:var(--c);stroke:var(--paper);stroke-width:.6"
_HOLLOW = "fill:none;stroke:var(--c);stroke-width:1.5"


@dataclass(frozen=True)
class Cloud:
    """One kind of point.

    Attributes:
        name: what the legend says; the number of points is added.
        points: (N, 2).
        colour: 1 to 6, of the page's palette.
        hollow: drawn as rings of a diamond's shape, so that the kinds differ without their colours.
    """

    name: str
    points: npt.NDArray[np.floating]
    colour: int
    hollow: bool


def scatter_chart(title: str, clouds: Sequence[Cloud], *, x_title: str, y_title: str) -> Chart | None:
    """All clouds on one pair of axes of equal scale, without ticks: the coordinates have no unit.

    Args:
        title: what is shown.
        clouds: drawn in turn; those without points are left out.
        x_title, y_title: of the axes.

    Returns:
        The chart, or None without a point.
    """
    clouds = [cloud for cloud in clouds if len(cloud.points)]
    if not clouds:
        return None
    left, right, top, bottom = 24.0, WIDTH - 8.0, 8.0, 300.0
    everything = np.concatenate([cloud.points for cloud in clouds]).astype(np.float64)
    low, high = everything.min(0), everything.max(0)
    # One scale for both axes, so that the picture is not stretched to fill its frame.
    per_unit = min((right - left - 16) / max(high[0] - low[0], 1e-9), (bottom - top - 16) / max(high[1] - low[1], 1e-9))
    middle = (low + high) / 2
    centre = np.array([(left + right) / 2, (top + bottom) / 2])
    parts = [
        Markup('<rect x="{}" y="{}" width="{}" height="{}" class="grid" style="fill:none"/>').format(
            left, top, right - left, bottom - top
        ),
        Markup('<text x="{}" y="{}" text-anchor="middle">{}</text>').format((left + right) / 2, bottom + 20, x_title),
        Markup('<text transform="translate(14 {}) rotate(-90)" text-anchor="middle">{}</text>').format(
            (top + bottom) / 2, y_title
        ),
    ]
    for cloud in clouds:
        placed = centre + (cloud.points - middle) * per_unit * [1, -1]
        parts.append(
            Markup('<g class="s{}" style="{}">{}</g>').format(
                cloud.colour, _style(cloud), Markup("").join(_point(x, y, cloud.hollow) for x, y in placed)
            )
        )
    named = [f"{cloud.name} (n = {len(cloud.points)})" for cloud in clouds]
    svg = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, int(bottom + 28), f"{title}. A scatter plot of {', '.join(named)}.", Markup("").join(parts)
    )
    return Chart(title, svg, [(_swatch(cloud), name) for cloud, name in zip(clouds, named, strict=True)])


def _style(cloud: Cloud) -> str:
    return _HOLLOW if cloud.hollow else _FILLED


def _point(x: float, y: float, hollow: bool) -> Markup:
    if hollow:
        return Markup('<path d="M{:.1f} {:.1f}l3.6 3.6-3.6 3.6-3.6-3.6z"/>').format(x, y - 3.6)
    return Markup('<circle cx="{:.1f}" cy="{:.1f}" r="3"/>').format(x, y)


def _swatch(cloud: Cloud) -> Markup:
    return Markup(
        '<svg class="swatch" viewBox="0 0 22 12" aria-hidden="true"><g class="s{}" style="{}">{}</g></svg>'
    ).format(cloud.colour, _style(cloud), _point(11, 6, cloud.hollow))
