"""The study report in a real browser."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.results import Results
from server.report.build import build_study_report


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_opens_offline_and_never_scrolls_sideways(
    width: int, study: Results, write_study: Callable[..., Path], measure: Callable[[Path, int], Any]
) -> None:
    page = measure(build_study_report(write_study(study, pictures=True)), width)
    assert page.title == "Study report: fabricated"
    assert page.width == width
    assert page.content <= width, page.wide
    assert page.wide == []
    assert page.fetched == []
    assert page.images > 40
    assert page.broken == 0
