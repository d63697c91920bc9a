"""The terminal of a simulated study: a live display for a person, plain lines for a pipe or a file."""

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from common.study.progress import ABSENT, ANSWERED, ASKED, Event, StudyProgress
from common.system.outside import line, say
from server.schedule import Schedule, duration


def terminal_progress(stream: TextIO | None = None) -> StudyProgress:
    """A live display if ``stream`` (default: stdout) is a terminal that can move its cursor, plain lines otherwise."""
    stream = stream or sys.stdout
    console = Console(file=stream)
    return LiveProgress(console) if console.is_terminal and not console.is_dumb_terminal else PlainProgress(stream)


class PlainProgress(StudyProgress):
    """One line an event, flushed at once, without colours or control characters."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._schedule = Schedule()

    def take(self, event: Event) -> None:
        schedule, values = self._schedule, event.values
        schedule.take(event)
        match event.name:
            case "plan":
                self._line("study: " + ", ".join(f"{name} ({_rounds(rounds)})" for name, rounds in values["phases"]))
            case "phase":
                self._line(f"{_position(schedule)}{values['name']}: {_rounds(values['total'])}")
            case "site" if values["doing"] not in (ASKED, ANSWERED, ABSENT):
                said = f"{values['name']}: {values['doing']}"
                self._line(f"{schedule.name}, {said}" if schedule.name else said)
            case "advance":
                self._line(self._of_round(values))
            case "message":
                self._line(values["text"])

    def close(self) -> None:
        self._stream.flush()

    def _of_round(self, values: Mapping[str, Any]) -> str:
        schedule = self._schedule
        who = ", ".join(values["contributors"])
        parts = [f"{schedule.name}, round {values['round']} of {schedule.rounds}: {who}"]
        parts += [_figures(values["losses"]), _figures(values["scores"]), f"took {duration(values['seconds'])}"]
        if left := schedule.seconds_left():
            parts.append(f"about {duration(left)} left")
        return "; ".join(part for part in parts if part)

    def _line(self, text: str) -> None:
        say(text, stream=self._stream)


class LiveProgress(StudyProgress):
    """A display at the bottom of the terminal; finished phases and messages scroll by above it."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._schedule = Schedule()
        self._sites: dict[str, str] = {}
        self._losses: dict[str, float] = {}
        self._scores: dict[str, float] = {}
        self._study_began = self._phase_began = self._round_ended = clock()
        self._live = Live(console=console, get_renderable=self._display, refresh_per_second=4)
        self._live.start()

    def take(self, event: Event) -> None:
        values = event.values
        if event.name == "phase":
            self._finish_phase()
        self._schedule.take(event)
        match event.name:
            case "phase":
                self._sites, self._losses, self._scores = {}, {}, {}
                self._phase_began = self._round_ended = self._clock()
            case "site":
                self._sites = {**self._sites, values["name"]: values["doing"]}
            case "advance":
                self._losses, self._scores = dict(values["losses"]), dict(values["scores"])
                number, contributors = values["round"], values["contributors"]
                self._sites = {
                    name: f"in round {number}" if name in contributors else f"not in round {number}"
                    for name in sorted({*self._sites, *contributors})
                }
                self._round_ended = self._clock()
            case "message":
                self._console.print(Text(line(values["text"])), soft_wrap=True)

    def close(self) -> None:
        """Stops the display and leaves one line for the last phase."""
        if not self._live.is_started:
            return
        self._finish_phase()
        self._live.transient = True
        self._live.stop()

    def _finish_phase(self) -> None:
        schedule = self._schedule
        if schedule.current < 0:
            return
        done = f"{schedule.rounds_done} of {_rounds(schedule.rounds)} in {duration(self._clock() - self._phase_began)}"
        figures = _figures({**self._losses, **self._scores})
        self.message(f"{_position(schedule)}{schedule.name}: {'; '.join(filter(None, (done, figures)))}")

    def _display(self) -> RenderableType:
        schedule = self._schedule
        if schedule.current < 0:
            return Text(f"preparing, {duration(self._clock() - self._study_began)}", style="dim")
        bar = Table.grid(padding=(0, 1))
        bar.add_row(
            Text(f"{_position(schedule)}{schedule.name}", style="bold"),
            ProgressBar(total=max(schedule.rounds, 1), completed=schedule.rounds_done, width=24),
            Text(f"{schedule.rounds_done} of {_rounds(schedule.rounds)}"),
            Text(self._time_left(), style="cyan"),
        )
        sites = Table.grid(padding=(0, 2))
        for name, doing in self._sites.items():
            sites.add_row(Text(line(f"  {name}")), Text(line(doing), style="dim"))
        lines: list[RenderableType] = [bar, sites] if self._sites else [bar]
        if self._losses or self._scores:
            lines.append(Text(line(f"  {_figures({**self._losses, **self._scores})}"), style="green"))
        return Group(*lines)

    def _time_left(self) -> str:
        left = self._schedule.seconds_left()
        if left is None:
            return f"{duration(self._clock() - self._phase_began)} so far"
        # The estimate counts down while a round runs, and waits at zero if the round takes longer than expected.
        return f"about {duration(max(left - (self._clock() - self._round_ended), 0))} left"


def _rounds(count: int) -> str:
    return f"{count} round" if count == 1 else f"{count} rounds"


def _position(schedule: Schedule) -> str:
    return f"[{schedule.current + 1}/{len(schedule.phases)}] "


def _figures(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items())
