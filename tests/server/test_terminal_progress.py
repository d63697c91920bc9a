import io
import os
import pty

import pytest
from rich.console import Console

from server.schedule import Schedule, duration
from server.terminal_progress import LiveProgress, PlainProgress, terminal_progress

PHASES = [("GAN cgan", 2), ("classifier real", 4)]


class Clock:
    """Seconds that pass only when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Stream(io.StringIO):
    """Counts flushes."""

    flushes = 0

    def flush(self) -> None:
        self.flushes += 1
        super().flush()


def run_two_rounds(progress) -> None:
    progress.plan(PHASES)
    progress.phase("GAN cgan", 2)
    progress.site("hospital1", "training")
    progress.advance(
        round=1,
        contributors=["hospital1", "hospital2"],
        losses={"generator": 1.23456, "discriminator": 0.5},
        scores={"ssim": 0.91},
        seconds=10,
    )
    progress.message("hospital3 was refused: not finite")
    progress.advance(round=2, contributors=["hospital1"], losses={}, scores={}, seconds=20)
    progress.phase("classifier real", 4)
    progress.close()


def test_plain_output_is_one_line_an_event_with_figures_and_time_left():
    stream = Stream()
    run_two_rounds(PlainProgress(stream))
    assert stream.getvalue().splitlines() == [
        "study: GAN cgan (2 rounds), classifier real (4 rounds)",
        "[1/2] GAN cgan: 2 rounds",
        "GAN cgan, hospital1: training",
        "GAN cgan, round 1 of 2: hospital1, hospital2; generator 1.235, discriminator 0.5; ssim 0.91; took 10 s; "
        "about 50 s left",
        "hospital3 was refused: not finite",
        "GAN cgan, round 2 of 2: hospital1; took 20 s; about 1 min left",
        "[2/2] classifier real: 4 rounds",
    ]


def test_plain_output_is_flushed_at_every_line():
    stream = Stream()
    progress = PlainProgress(stream)
    for count in (1, 2, 3):
        progress.message("line")
        assert stream.flushes >= count


def test_plain_output_holds_no_control_characters_even_if_a_name_does():
    stream = io.StringIO()
    progress = PlainProgress(stream)
    progress.site("hospital\x1b[31m1", "training\r\nfast\x07")
    assert stream.getvalue().count("\n") == 1
    assert all(c.isprintable() for c in stream.getvalue().rstrip("\n"))


def rendered(progress: LiveProgress, width: int = 100) -> str:
    console = Console(record=True, file=io.StringIO(), width=width)
    console.print(progress._display())
    return console.export_text()


def test_the_live_display_shows_phase_round_sites_losses_and_time_left():
    clock = Clock()
    progress = LiveProgress(Console(file=io.StringIO(), force_terminal=True, width=100), clock)
    try:
        progress.plan(PHASES)
        clock.now = 5
        assert "preparing, 5 s" in rendered(progress)
        progress.phase("GAN cgan", 2)
        progress.site("hospital1", "training")
        progress.site("hospital3", "training")
        clock.now = 12
        shown = rendered(progress)
        assert "[1/2] GAN cgan" in shown
        assert "0 of 2 rounds" in shown
        assert "7 s so far" in shown
        assert "hospital3" in shown
        progress.advance(
            round=1, contributors=["hospital1"], losses={"generator": 1.5}, scores={"ssim": 0.91}, seconds=10
        )
        shown = rendered(progress)
        assert "1 of 2 rounds" in shown
        assert "generator 1.5, ssim 0.91" in shown
        assert "about 50 s left" in shown
        assert "hospital1  in round 1" in shown
        assert "hospital3  not in round 1" in shown
        clock.now = 20
        assert "about 42 s left" in rendered(progress)
        clock.now = 500
        assert "about 0 s left" in rendered(progress)
    finally:
        progress.close()


def test_the_live_display_leaves_one_line_for_each_phase_and_each_message():
    console = Console(file=io.StringIO(), force_terminal=True, width=100, record=True)
    clock = Clock()
    progress = LiveProgress(console, clock)
    run_two_rounds(progress)
    progress.close()
    kept = console.export_text()
    assert "hospital3 was refused: not finite" in kept
    assert kept.count("[1/2] GAN cgan: 2 of 2 rounds in 0 s") == 1
    assert kept.count("[2/2] classifier real: 0 of 4 rounds in 0 s") == 1


def test_text_that_looks_like_markup_is_shown_as_it_is():
    console = Console(file=io.StringIO(), force_terminal=True, width=100, record=True)
    progress = LiveProgress(console)
    progress.message("[red]hospital1[/red] [/oops]")
    progress.close()
    assert "[red]hospital1[/red] [/oops]" in console.export_text()


def test_the_cursor_is_given_back_when_the_display_closes():
    stream = io.StringIO()
    progress = LiveProgress(Console(file=stream, force_terminal=True, width=100))
    progress.phase("GAN cgan", 2)
    progress.close()
    assert stream.getvalue().rindex("\x1b[?25h") > stream.getvalue().rindex("\x1b[?25l")


def test_a_file_gets_plain_lines_and_a_terminal_gets_the_live_display(tmp_path, monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    with (tmp_path / "out.txt").open("w") as file:
        assert isinstance(terminal_progress(file), PlainProgress)
    main, side = pty.openpty()
    try:
        with os.fdopen(side, "w") as terminal:
            live = terminal_progress(terminal)
            assert isinstance(live, LiveProgress)
            live.close()
            monkeypatch.setenv("TERM", "dumb")
            assert isinstance(terminal_progress(terminal), PlainProgress)
    finally:
        os.close(main)


def test_time_left_is_the_mean_round_times_the_rounds_of_this_and_later_phases():
    schedule = Schedule()
    schedule.plan(PHASES)
    schedule.begin("GAN cgan", 2)
    assert schedule.seconds_left() is None
    schedule.finish_round(1, 10)
    assert schedule.seconds_left() == pytest.approx(10 * (1 + 4))
    schedule.finish_round(2, 20)
    schedule.begin("classifier real", 4)
    assert schedule.seconds_left() == pytest.approx(15 * 4)


def test_a_resumed_phase_counts_the_rounds_that_were_done_before():
    schedule = Schedule()
    schedule.plan(PHASES)
    schedule.begin("classifier real", 4)
    schedule.finish_round(3, 8)
    assert schedule.seconds_left() == pytest.approx(8)


def test_a_phase_that_was_not_planned_is_added_where_the_study_stands():
    schedule = Schedule()
    schedule.plan(PHASES)
    schedule.begin("GAN cgan", 2)
    schedule.begin("cross-site evaluation", 1)
    assert [name for name, _ in schedule.phases] == ["GAN cgan", "cross-site evaluation", "classifier real"]
    assert schedule.name == "cross-site evaluation"
    schedule.finish_round(1, 2)
    assert schedule.seconds_left() == pytest.approx(2 * 4)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59.4, "59 s"), (59.6, "1 min"), (3599, "59 min 59 s"), (3600, "1 h 0 min")]
)
def test_durations_read_as_a_person_says_them(seconds, text):
    assert duration(seconds) == text
