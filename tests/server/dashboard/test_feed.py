"""Who waits for a change of the page hears of it once, also after a time in which the run could not be read."""

import logging
from pathlib import Path

import pytest
from live_study import LiveStudy

from server.dashboard.feed import Feed
from server.dashboard.part import Part
from server.dashboard.study import StudyView


def test_nothing_is_said_while_nothing_changes(tmp_path: Path) -> None:
    with Feed(StudyView(tmp_path / "run"), every=0.01) as feed:
        first = feed.newest()
        assert (first.number, first.name, [part.anchor for part in first.parts]) == (1, "run", ["now"])
        assert feed.after(1, seconds=0.1) is None
        LiveStudy(tmp_path / "run").begin()
        changed = feed.after(1, seconds=10)
        assert changed is not None
        assert changed.number > 1
        assert not feed.ended
    assert feed.ended
    assert feed.after(feed.newest().number, seconds=10) is None


def test_a_run_that_cannot_be_read_for_a_while_is_logged_once_and_shown_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR), Feed(StudyView(tmp_path / "run"), every=0.01) as feed:
        before, read = feed.newest(), StudyView.parts

        def fails(view: StudyView) -> list[Part]:
            raise OSError("stale file handle")

        monkeypatch.setattr(StudyView, "parts", fails)
        LiveStudy(tmp_path / "run").begin()
        assert feed.after(before.number, seconds=0.2) is None
        monkeypatch.setattr(StudyView, "parts", read)
        assert feed.after(before.number, seconds=10) is not None
    assert caplog.text.count("the run cannot be shown") == 1
