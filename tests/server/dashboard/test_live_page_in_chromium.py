"""The live page in a real browser: it grows without being loaded again, and leaves the reader where they are."""

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from browser import Browser, Page
from live_study import LiveStudy

from server.dashboard import feed, service


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser.started(tmp_path_factory.mktemp("browser")) as started:
        yield started


serving = partial(service.serving, every=0.05)


@pytest.fixture
def study(tmp_path: Path) -> LiveStudy:
    made = LiveStudy(tmp_path / "run")
    made.begin()
    made.round()
    return made


def until(page: Page, expression: str, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < end, (expression, page.evaluate("document.body.innerText")[:2000])
        time.sleep(0.05)


LINK = "document.getElementById('link').textContent"
SHOWS = "document.getElementById('training-gan-cgan').innerText.includes('{} of 4 rounds')"


def test_a_new_round_comes_without_loading_and_what_is_read_stays_in_place(study: LiveStudy, browser: Browser) -> None:
    with serving(study.folder) as address:
        page = browser.page(address, height=700)
        until(page, f"{LINK}.startsWith('live')")
        page.evaluate("window.mark = 1; document.querySelector('#training-gan-cgan details details summary').click()")
        page.evaluate(
            "scrollTo(0, 500); document.querySelector('#training-gan-cgan .box').focus({preventScroll: true})"
        )
        place = "document.querySelector('#training-gan-cgan summary').getBoundingClientRect().top"
        before = page.evaluate(place)
        study.log.phase("classifier/real", 2)
        study.round(phase="classifier/real", number=1)
        until(page, "document.getElementById('training-classifier-real') !== null")
        study.round()
        until(page, SHOWS.format(2))
        assert page.evaluate("window.mark") == 1
        assert page.evaluate(place) == pytest.approx(before, abs=2)
        assert page.evaluate("document.querySelector('#training-gan-cgan details details').open")
        assert page.evaluate("document.activeElement.matches('#training-gan-cgan .box')")
        assert page.evaluate("[...document.querySelectorAll('main > section')].map((e) => e.id)") == [
            *("now", "sites", "training-classifier-real", "training-gan-cgan", "phases")
        ]
        assert (
            page.evaluate("document.querySelector('[alt=\"Reference slice 1, generated, round 2\"]').naturalWidth") > 0
        )
        assert page.fetched == [f"{address}events"]
        study.finish()
        until(page, "document.querySelector('.where').innerText === 'Finished'")
    until(page, f"{LINK}.startsWith('ended')")


@pytest.mark.parametrize("width", [390, 1000, 1400])
@pytest.mark.parametrize("dark", [False, True])
def test_the_page_fits_every_window(width: int, dark: bool, study: LiveStudy, browser: Browser) -> None:
    study.log.site(
        "hospital1", "its node was lost; it is waited for, and its work will be asked for again", at_work=True
    )
    with serving(study.folder) as address:
        page = browser.page(address, width=width, dark=dark)
        until(page, f"{LINK}.startsWith('live')")
        found = page.measured()
    assert found.title == "Live: run"
    assert found.content <= width, found.wide
    assert found.wide == []
    assert found.images == 4
    assert found.broken == 0


def test_a_connection_that_is_lost_is_said_and_taken_up_again(
    study: LiveStudy, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.secrets, "token_urlsafe", lambda length: "s" * 22)
    with serving(study.folder) as address:
        page = browser.page(address)
        until(page, f"{LINK}.startsWith('live')")
        # A process that is killed says no farewell.
        monkeypatch.setattr(feed.Feed, "ended", False)
        monkeypatch.setattr(service, "SILENCE", 0.1)
        monkeypatch.setattr(service._Handler, "_send", lambda *_: (_ for _ in ()).throw(OSError))
        study.round()
        until(page, f"{LINK}.startsWith('connection lost')")
        assert page.evaluate(SHOWS.format(1))
    monkeypatch.undo()
    monkeypatch.setattr(service.secrets, "token_urlsafe", lambda length: "s" * 22)
    with serving(study.folder, int(urlsplit(address).port or 0)) as again:
        assert again == address
        until(page, SHOWS.format(2))
        assert page.evaluate(f"{LINK}.startsWith('live')")


def test_without_javascript_the_page_shows_how_it_stood(study: LiveStudy, browser: Browser) -> None:
    with serving(study.folder) as address:
        page = browser.page(address, scripts=False)
        page.call("Emulation.setScriptExecutionDisabled", value=False)
        assert page.evaluate(LINK) == "as it stood when this page was loaded"
        assert page.evaluate(SHOWS.format(1))
        assert page.fetched == []


def test_the_keyboard_reaches_and_opens_what_is_folded(study: LiveStudy, browser: Browser) -> None:
    study.round(phase="classifier/real", number=1)
    with serving(study.folder) as address:
        page = browser.page(address)
        until(page, f"{LINK}.startsWith('live')")
        folded = "document.querySelector('#training-gan-cgan > details')"
        assert not page.evaluate(f"{folded}.open")
        for _ in range(12):
            page.press("Tab")
            if page.evaluate(f"document.activeElement === {folded}.querySelector('summary')"):
                break
        page.press("Enter")
        assert page.evaluate(f"{folded}.open")
        study.round()
        until(page, f"{folded}.innerText.includes('2 of 4 rounds')")
        assert page.evaluate(f"{folded}.open")
        assert page.evaluate(f"document.activeElement === {folded}.querySelector('summary')")
