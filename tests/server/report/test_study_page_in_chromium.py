"""The study report in a real browser: every part can be reached, read and printed, with a keyboard and offline."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from browser import Browser, Page

from common.results.study import Results
from server.report.build import build_study_report

Open = Callable[..., Page]

TABS = ["overview", "images", "classifiers", "sites", "rounds", "privacy", "methods"]
SHOWN = "[...document.querySelectorAll('.panel')].filter((e) => !e.hasAttribute('hidden')).map((e) => e.id)"
VISIBLE = "e.checkVisibility({contentVisibilityAuto: true, visibilityProperty: true})"


@pytest.fixture(scope="module")
def report(study: Results, tmp_path_factory: pytest.TempPathFactory, write_run: Callable[..., Path]) -> Path:
    return build_study_report(write_run(tmp_path_factory.mktemp("study") / "run", study, pictures=True))


@pytest.fixture
def opened(report: Path, browser: Browser) -> Open:
    return lambda **options: browser.page(report, **options)


def js(page: Page, expression: str) -> Any:
    return page.evaluate(expression)


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_opens_offline_and_never_scrolls_sideways(width: int, opened: Open) -> None:
    page = opened(width=width)
    for tab in TABS:
        page.evaluate(f"document.querySelector('.tabs [href=\"#{tab}\"]').click()")
        page.evaluate("new Promise((done) => setTimeout(done, 30))")
        found = page.measured()
        assert js(page, SHOWN) == [tab]
        assert found.title == "Study report: fabricated"
        assert found.width == width
        assert found.content <= width, (tab, found.wide)
        assert found.wide == [], tab
    assert found.fetched == []
    assert found.images > 40
    assert found.broken == 0
    assert js(page, "[...document.images].every((e) => e.alt.length > 8)")


def test_the_first_screen_holds_the_answer_and_nothing_else(opened: Open) -> None:
    page = opened(width=1400, height=1000)
    assert js(page, SHOWN) == ["overview"]
    assert js(page, "document.documentElement.scrollHeight") == 1000
    words = js(page, "[...document.querySelectorAll('.verdict .word')].map((e) => e.textContent)")
    assert len(words) == 4
    assert all(words)
    assert js(page, f"[...document.querySelectorAll('.forest, .pair')].every((e) => {VISIBLE})")
    assert js(page, "document.querySelectorAll('.generator').length") == 4


def test_tabs_work_by_keyboard(opened: Open) -> None:
    page = opened()
    js(page, "document.querySelector('[role=tab]').focus()")
    for key, tab in (("ArrowRight", "images"), ("ArrowRight", "classifiers"), ("End", "methods"), ("Home", "overview")):
        page.press(key)
        assert js(page, SHOWN) == [tab]
        assert js(page, "document.activeElement.hash") == f"#{tab}"
    page.press("ArrowLeft")
    assert js(page, SHOWN) == ["methods"]
    assert js(page, "[...document.querySelectorAll('[role=tab]')].map((e) => e.tabIndex)") == [-1] * 6 + [0]
    assert js(page, "document.querySelector('[aria-selected=true]').hash") == "#methods"


@pytest.mark.parametrize(
    ("fragment", "tab"), [("#privacy", "privacy"), ("#cross-site", "sites"), ("#none", "overview")]
)
def test_a_link_opens_the_tab_that_holds_its_target(fragment: str, tab: str, opened: Open) -> None:
    page = opened(fragment=fragment)
    assert js(page, SHOWN) == [tab]
    if fragment == "#cross-site":
        assert 0 <= js(page, "document.getElementById('cross-site').getBoundingClientRect().top") < 200


def test_one_hospital_is_shown_at_a_time_and_chosen_everywhere(opened: Open) -> None:
    page = opened(fragment="#classifiers")
    options = "document.querySelector('#arms ~ .choice')"
    assert js(page, f"[...{options}.children].filter((e) => e.matches('.option') && !e.hidden).length") == 1
    assert js(page, f"{options}.querySelector('select').value") == "In federation"
    chosen = "s.value = 'hospital2'; s.dispatchEvent(new Event('change'))"
    js(page, f"(() => {{const s = {options}.querySelector('select'); {chosen}}})()")
    title = f"[...{options}.children].find((e) => e.matches('.option') && !e.hidden).dataset.title"
    assert js(page, title) == "hospital2"
    rows = "[...document.querySelectorAll('[aria-label^=\"Gain over the same\"] tbody tr')]"
    assert set(js(page, f"{rows}.filter((e) => {VISIBLE}).map((e) => e.cells[0].textContent)")) == {"hospital2"}


def test_a_chart_tells_its_values_to_the_pointer_and_to_the_keyboard(opened: Open) -> None:
    page = opened(width=1400)
    js(page, "document.querySelector('.forest').focus()")
    page.press("ArrowRight")
    first = js(page, "document.querySelector('.tip.shown').textContent")
    assert first.startswith("synthetic only, in federation: ")
    page.press("Escape")
    assert js(page, "document.querySelector('.tip.shown')") is None
    rectangle = "document.querySelector('.forest .mark').getBoundingClientRect()"
    x, y = js(page, f"[{rectangle}.x + 4, {rectangle}.y + 3]")
    page.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    assert js(page, "document.querySelector('.tip.shown').textContent").startswith("real + synthetic, in federation: ")


def test_pictures_enlarge_and_give_the_keyboard_back(opened: Open) -> None:
    page = opened(width=1400)
    js(page, "document.querySelector('.pair .slice').focus()")
    page.press("Enter")
    assert js(page, "document.querySelector('dialog').open")
    assert js(page, "document.querySelectorAll('dialog img').length") == 2
    assert js(page, "document.querySelector('dialog img').getBoundingClientRect().width") > 250
    title = js(page, "document.querySelector('dialog .title').textContent")
    page.press("ArrowRight")
    assert js(page, "document.querySelector('dialog .title').textContent") != title
    page.press("Escape")
    assert not js(page, "document.querySelector('dialog').open")
    assert js(page, "document.activeElement.matches('.pair .slice')")


@pytest.mark.parametrize(("media", "scripts"), [("print", True), ("screen", False)], ids=["print", "no script"])
def test_everything_is_there_on_paper_and_without_a_script(media: str, scripts: bool, opened: Open) -> None:
    page = opened(width=800, media=media, scripts=scripts)
    hidden = f"filter((e) => !(e.getBoundingClientRect().height > 0 && {VISIBLE})).length"
    for selector, least in ((".panel", 7), (".option", 20), (".option-title", 20), ("tbody tr:not(details *)", 100)):
        assert js(page, f"document.querySelectorAll('{selector}').length") >= least
        assert js(page, f"[...document.querySelectorAll('{selector}:not(details *)')].{hidden}") == 0, selector
    assert js(page, SHOWN) == (TABS[:1] if scripts else TABS)


def test_a_wide_table_keeps_its_first_column_and_shows_that_it_scrolls(opened: Open) -> None:
    page = opened(width=390, fragment="#classifiers")
    box = "[...document.querySelectorAll('.box')].find((e) => e.scrollWidth > e.clientWidth + 100)"
    assert js(page, f"{box}.classList.contains('more-right')")
    left = f"{box}.querySelector('tbody th').getBoundingClientRect().left - {box}.getBoundingClientRect().left"
    js(page, f"{box}.scrollTo(60, 0)")
    assert abs(js(page, left)) < 1
    js(page, f"{box}.scrollTo(10000, 0)")
    js(page, "new Promise((done) => setTimeout(done, 50))")
    assert not js(page, f"{box}.classList.contains('more-right')")
