"""The page's shell: everything is escaped, nothing is fetched, and every colour can be read in light and dark."""

import re
from importlib.resources import files

import pytest

from common.report.page import Section, render_page

STYLE = files("common.report").joinpath("style.css").read_text()


def palettes() -> dict[str, dict[str, str]]:
    light, dark = re.findall(r":root \{(.*?)\}", STYLE, flags=re.S)
    colours = [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})\b", text)) for text in (light, dark)]
    return {"light": colours[0], "dark": colours[0] | colours[1]}


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """WCAG 2.1, relative luminance."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(
    ("text", "ground"),
    [
        *((text, "paper") for text in ("ink", "quiet", "link", "good", "bad", "open")),
        *((f"c{number}", "paper") for number in range(1, 7)),
        ("ink", "warm"),
        ("ink", "raised"),
        ("ink", "notice"),
        ("on-guard", "guard"),
    ],
)
def test_text_can_be_read_on_its_ground(theme: str, text: str, ground: str) -> None:
    colours = palettes()[theme]
    assert contrast(colours[text], colours[ground]) >= 4.5


def test_the_style_sheet_fetches_nothing() -> None:
    assert "url(" not in STYLE
    assert "@import" not in STYLE


def test_a_page_without_a_script_may_run_none() -> None:
    page = render_page("common.report", "page.html", [Section("a", "Part A")])
    assert "<script" not in page
    assert "script-src" not in page
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page
    assert '<a href="#a">Part A</a>' in page
