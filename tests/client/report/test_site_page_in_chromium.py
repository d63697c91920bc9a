"""The site report in a real browser."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from client.report.build import build_site_report


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_opens_offline_and_never_scrolls_sideways(
    width: int, write_site: Callable[..., Path], measure: Callable[[Path, int], Any]
) -> None:
    page = measure(build_site_report(write_site()), width)
    assert page.title == "Site report: hospital1"
    assert page.width == width
    assert page.content <= width, page.wide
    assert page.wide == []
    assert page.fetched == []
    assert page.images == 40 + 1 + 2 * 6 * 2 + 3 + 2 * 2  # beside the galleries: attention, ranked and nearest lesions
    assert page.broken == 0
