"""The marks that charts are made of, as inline SVG. Colours and type come from the page's style sheet, by class."""

from collections.abc import Sequence

from markupsafe import Markup, escape

WIDTH = 340
"""Width of a panel's drawing, about that of a phone's column."""

MARKS = ("circle", "square", "triangle", "diamond", "circle", "down")
"""By the place of a series; they differ as well as colours, for readers who do not see the latter."""


def drawing(title: str, values: str, height: float, parts: Sequence[Markup], width: float = WIDTH) -> Markup:
    """A whole chart.

    Args:
        title: what it shows.
        values: every value in words, for readers who cannot see the marks.
        height, width: of the drawing, in CSS pixels at its natural size.
        parts: what is drawn, from back to front.
    """
    return Markup('<svg viewBox="0 0 {:g} {:g}" role="img" aria-label="{}">{}</svg>').format(
        width, height, f"{title}. {values}.", Markup("").join(parts)
    )


def point(words: str, *parts: Markup) -> Markup:
    """Marks of one value with the words that appear on hover."""
    return Markup('<g class="point"><title>{}</title>{}</g>').format(words, Markup("").join(parts))


def line(style: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    return Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(style, x1, y1, x2, y2)


def text(x: float, y: float, text: str, anchor: str, style: str = "") -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}" class="{}">{}</text>').format(
        x, y, anchor, style, escape(text)
    )


def mark(index: int, style: str, x: float, y: float) -> Markup:
    shape = MARKS[index % len(MARKS)]
    if shape == "circle":
        return Markup('<circle class="mark {}" cx="{:.1f}" cy="{:.1f}" r="3.2"/>').format(style, x, y)
    outlines: dict[str, list[tuple[float, float]]] = {
        "square": [(-3, -3), (3, -3), (3, 3), (-3, 3)],
        "triangle": [(0, -3.8), (3.8, 3), (-3.8, 3)],
        "down": [(-3.8, -3), (3.8, -3), (0, 3.8)],
        "diamond": [(0, -4.2), (4.2, 0), (0, 4.2), (-4.2, 0)],
    }
    points = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in outlines[shape])
    return Markup('<polygon class="mark {}" points="{}"/>').format(style, points)
