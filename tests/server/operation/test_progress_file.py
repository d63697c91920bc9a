"""A study's progress in a file: what is written is read back, and adds up to where the study stands."""

import fcntl
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from common.errors import StudyError
from common.study.progress import ANSWERED, ASKED, Event, NoProgress
from server.operation.progress_state import progress_state
from server.progress_log import ProgressLog, ProgressReader, ShownAndRecorded, recorded
from server.run_lock import alone_in, is_running


class Kept(NoProgress):
    def __init__(self) -> None:
        self.told: list[tuple[str, object]] = []

    def take(self, event: Event) -> None:
        values = event.values
        match event.name:
            case "plan":
                self.told.append(("plan", values["phases"]))
            case "site":
                self.told.append((values["name"], values["doing"]))
            case "advance":
                self.told.append(("advance", values["round"]))


def test_what_is_told_is_read_back_piece_by_piece(tmp_path: Path) -> None:
    log, reader, kept = ProgressLog(tmp_path), ProgressReader(tmp_path), Kept()
    assert [event.name for event in reader.new()] == []
    log.write("began", flower_run="7")
    log.plan([("gan/cgan", 2)])
    log.site("hospital1", ASKED)
    for event in reader.new():
        kept.take(event)
    log.advance(round=1, contributors=["hospital1"], losses={"l1": 0.5}, scores={}, seconds=3.0)
    with (tmp_path / "progress.jsonl").open("a") as file:
        file.write('{"time": "2030-01-31T12:00:00+00:00", "event": "mess')  # as a crash leaves it
    for event in reader.new():
        kept.take(event)
    assert kept.told == [("plan", [["gan/cgan", 2]]), ("hospital1", ASKED), ("advance", 1)]


def test_a_line_that_a_crash_cut_off_loses_no_other(tmp_path: Path) -> None:
    ProgressLog(tmp_path).message("first")
    with (tmp_path / "progress.jsonl").open("a") as file:
        file.write('{"time": "20')
    ProgressLog(tmp_path).message("second")
    assert [event.values["text"] for event in ProgressReader(tmp_path).new()] == ["first", "second"]


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (None, ("finished", None)),
        (StudyError("1 of 2 sites replied"), ("failed", "1 of 2 sites replied")),
        (KeyboardInterrupt(), ("failed", "interrupted")),
        (RuntimeError("case-7"), ("failed", "something unexpected (RuntimeError); the server's output has it")),
    ],
    ids=str,
)
def test_how_a_study_ends_is_written_after_all_else(
    error: BaseException | None, end: tuple[str, str | None], tmp_path: Path
) -> None:
    shown = Kept()
    with pytest.raises(type(error)) if error else nullcontext(), recorded(tmp_path, flower_run="7") as log:
        both = ShownAndRecorded(shown, log)
        both.site("hospital1", ASKED)
        both.close()
        if error is not None:
            raise error
    assert shown.told == [("hospital1", ASKED)]
    events = [*ProgressReader(tmp_path).new()]
    assert [event.name for event in events] == ["began", "site", end[0]]
    assert events[0].values == {"flower_run": "7"}
    assert events[-1].values.get("reason") == end[1]


def test_who_looks_at_a_run_is_not_taken_for_who_works_on_it(tmp_path: Path) -> None:
    assert not is_running(tmp_path)
    assert list(tmp_path.iterdir()) == []
    with alone_in(tmp_path):
        assert is_running(tmp_path)
    with (tmp_path / "run.lock").open() as other:
        # As another looks at this very moment.
        fcntl.flock(other, fcntl.LOCK_SH)
        assert not is_running(tmp_path)


def at(minutes: float, event: str, /, **values: object) -> Event:
    return Event(event, dict(values), datetime(2030, 1, 31, 12, tzinfo=UTC) + timedelta(minutes=minutes))


def test_where_a_study_stands_and_whom_it_waits_for() -> None:
    events = [
        at(0, "began"),
        at(0, "plan", phases=[["gan/cgan", 3], ["arms", 1]]),
        at(1, "phase", name="gan/cgan", total=3),
        at(1, "site", name="hospital1", doing=ASKED),
        at(1, "site", name="hospital2", doing=ASKED),
        at(2, "site", name="hospital1", doing=ANSWERED),
        at(3, "site", name="hospital2", doing="its node was lost; it is waited for", at_work=True),
    ]
    state = progress_state(events)
    assert state.asked == {"hospital2": events[4].time}
    assert "waited for" in state.notes["hospital2"]
    after = progress_state(
        [
            *events,
            at(4, "site", name="hospital2", doing="no reply within 180 s"),
            at(4, "advance", round=1, contributors=["hospital1"], losses={}, scores={}, seconds=180.0),
        ]
    )
    assert after.asked == {}
    assert after.contributors == ("hospital1",)
    assert after.schedule.seconds_left() == 3 * 180.0
    assert progress_state([*events, at(5, "failed", reason="the disk is full")]).reason == "the disk is full"
    again = progress_state([*events, at(5, "failed", reason="x"), at(6, "began")])
    assert (again.ended, again.asked) == (None, {})


def test_a_run_has_one_process(tmp_path: Path) -> None:
    from common.errors import StudyError

    assert not is_running(tmp_path)
    with alone_in(tmp_path):
        assert is_running(tmp_path)
        with pytest.raises(StudyError, match="another process works on this run"), alone_in(tmp_path, patience=0):
            pass
    assert not is_running(tmp_path)
