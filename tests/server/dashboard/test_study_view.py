"""What the live page shows of a run, whatever state that is in."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from live_study import LiveStudy, words

from common.study.progress import ABSENT
from common.system.files import write_json
from server.dashboard.study import GRACE, StudyView
from server.run_lock import alone_in
from server.silences import note_silences


class Clock:
    """Seconds that pass as a test says."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def study(tmp_path: Path) -> LiveStudy:
    made = LiveStudy(tmp_path / "run")
    made.begin()
    return made


@pytest.fixture
def shown(tmp_path: Path) -> Callable[[], dict[str, str]]:
    """The words of each section, by its anchor."""
    view = StudyView(tmp_path / "run")
    return lambda: {part.anchor: words(part.html) for part in view.parts()}


def test_a_run_that_is_not_there_is_waited_for(tmp_path: Path, shown: Callable[[], dict[str, str]]) -> None:
    assert shown() == {"now": "Now Not there yet: this page shows the study as soon as it begins"}
    (tmp_path / "run").mkdir()
    assert shown() == {"now": "Now Not begun yet"}
    study = LiveStudy(tmp_path / "run")
    study.begin()
    study.round()
    with alone_in(study.folder):
        assert shown()["now"].startswith("Now Running gan/cgan, phase 1 of 2: 1 of 4 rounds done; about 10 s left")


def test_before_the_first_round_the_page_says_who_is_at_work(
    study: LiveStudy, shown: Callable[[], dict[str, str]]
) -> None:
    study.log.site("hospital3", ABSENT)
    with alone_in(study.folder):
        parts = shown()
    assert list(parts) == ["now", "sites", "phases"]
    assert parts["sites"].count("at work since") == 2
    assert "hospital3 not connected, waited for since" in parts["sites"]
    assert "brain: training and evaluation" in parts["sites"]
    assert parts["phases"].endswith("gan/cgan, 4 rounds: now classifier/real, 2 rounds")


def test_a_round_adds_scores_losses_and_pictures_and_changes_no_other_training(study: LiveStudy) -> None:
    view = StudyView(study.folder)
    study.round()
    study.round()
    before = {part.anchor: part for part in view.parts()}
    html = before["training-gan-cgan"].html
    assert "2 of 4 rounds" in words(html)
    assert "Of these rounds, 2 would be chosen" in words(html)
    assert "All 2 training sites (hospital1, hospital2) contributed to each of 2 rounds" in words(html)
    assert html.index('alt="Reference slice 1, generated, round 2"') < html.index(
        'alt="Reference slice 1, generated, round 1"'
    )
    assert html.count("<img") == 8
    assert 'aria-label="SSIM, lesion.' in html
    assert 'aria-label="generator. generator: 1: 0.500, 2: 0.500."' in html
    study.log.phase("classifier/real", 2)
    for number in (1, 2):
        study.round(phase="classifier/real", number=number)
        after = {part.anchor: part for part in view.parts()}
        assert list(after) == ["now", "sites", "training-classifier-real", "training-gan-cgan", "phases"]
        if number == 2:
            assert after["training-gan-cgan"].version == before["training-gan-cgan"].version
        assert f"Classifier, real only {number} of 2 rounds" in words(after["training-classifier-real"].html)
        before = after


def test_a_line_that_is_half_written_and_a_damaged_record_leave_the_rest_on_the_page(
    study: LiveStudy, shown: Callable[[], dict[str, str]]
) -> None:
    study.round()
    with (study.folder / "progress.jsonl").open("a") as file:
        file.write('{"time": "2000-01-01T00:00:00+00:00", "event": "advance"}\n{"time": "20')
    parts = shown()
    assert "1 of 4 rounds" in parts["training-gan-cgan"]
    (study.folder / "checkpoints" / "gan" / "cgan" / "round-00002.json").write_text('{"round": 2, "sco')
    (study.folder / "results.json").write_text('{"schema"')
    (study.folder / "checkpoints" / "gan" / "cgan" / "images-00002.npz").write_bytes(b"PK")
    parts = shown()
    assert "not readable The record of a round cannot be read." in parts["training-gan-cgan"]
    assert "hospital1" in parts["sites"]


def test_a_study_that_is_killed_and_resumed(study: LiveStudy) -> None:
    clock = Clock()
    view = StudyView(study.folder, clock)

    def where() -> str:
        return words(view.parts()[0].html).removeprefix("Now ").partition(" gan/cgan")[0]

    with alone_in(study.folder):
        assert where() == "Running"
    clock.now += GRACE - 1
    assert where() == "Running"
    clock.now += 2
    assert where() == "Stopped without a word; it can be resumed"
    study.log.write("failed", reason="1 of 2 sites replied")
    assert where() == "Stopped: 1 of 2 sites replied"
    study.log.write("began")
    with alone_in(study.folder):
        assert where() == "Running"


def test_a_private_study_shows_no_losses_and_says_why(study: LiveStudy, shown: Callable[[], dict[str, str]]) -> None:
    study.round(losses={})
    told = shown()["training-gan-cgan"]
    assert "Sites tell no losses of it, as of every private training." in told
    assert "Losses by round" not in told
    assert "SSIM, lesion" in told


def test_a_finished_run_says_so_also_if_it_kept_no_progress(
    study: LiveStudy, shown: Callable[[], dict[str, str]]
) -> None:
    study.round()
    study.finish()
    parts = shown()
    assert parts["now"].startswith("Now Finished")
    assert "left" not in parts["now"]
    assert "under report" not in parts["now"]
    assert ": now" not in parts["phases"]
    (study.folder / "report").mkdir()
    (study.folder / "report" / "index.html").touch()
    assert "The report of this run lies in its folder, under report." in shown()["now"]
    (study.folder / "progress.jsonl").unlink()
    fresh = {part.anchor: words(part.html) for part in StudyView(study.folder).parts()}
    assert fresh["now"].startswith("Now Finished")
    assert "1 round" in fresh["training-gan-cgan"]


def test_who_counted_in_the_newest_round(study: LiveStudy, shown: Callable[[], dict[str, str]]) -> None:
    study.round()
    study.log.advance(round=2, contributors=["hospital1"], losses={}, scores={}, seconds=1.0)
    told = re.sub(r"\d\d:\d\d:\d\d UTC", "NOW", shown()["sites"])
    assert "external – – – brain: evaluation" in told
    assert "hospital1 – NOW yes brain: training and evaluation" in told
    assert "hospital2 – NOW no brain: training and evaluation" in told


def test_who_was_silent_and_why(study: LiveStudy, shown: Callable[[], dict[str, str]]) -> None:
    note_silences(study.folder, "hello", {"hospital3": "no answer in time"})
    assert "Without an answer hospital3 (hello): no answer in time" in shown()["sites"]


def test_the_latest_run_is_followed_from_one_to_the_next(tmp_path: Path) -> None:
    latest = tmp_path / "latest"
    view = StudyView(latest)
    names = []
    for name in ("one", "two"):
        study = LiveStudy(tmp_path / name)
        study.begin()
        if name == "one":
            study.round()
        latest.unlink(missing_ok=True)
        latest.symlink_to(name)
        parts = [part.anchor for part in view.parts()]
        names.append((view.name, "training-gan-cgan" in parts))
    assert names == [("one", True), ("two", False)]


def test_words_of_others_are_text_on_the_page(study: LiveStudy) -> None:
    note_silences(study.folder, "<b>hello", {"<script>alert(1)</script>": "<img src=x onerror=alert(1)>\u202e"})
    study.log.site("hospital1", "<i>no", at_work=True)
    study.log.write("failed", reason="</p><script>")
    html = "".join(part.html for part in StudyView(study.folder).parts())
    assert "&lt;script&gt;alert(1)" in html
    assert "&lt;i&gt;no" in html
    for raw in ("<script", "<img src=x", "<i>", "<b>hello", "\u202e"):
        assert raw not in html


def test_looking_changes_nothing_in_the_run(study: LiveStudy) -> None:
    def files() -> dict[str, int]:
        return {str(file): file.stat().st_mtime_ns for file in sorted(study.folder.rglob("*"))}

    study.round()
    write_json(study.folder / "checkpoints" / "timings.json", {})
    before = files()
    view = StudyView(study.folder)
    view.parts()
    view.parts()
    assert files() == before
