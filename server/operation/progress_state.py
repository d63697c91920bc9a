"""What the lines of a study's progress add up to: where it stands, and whom it waits for."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from common.study.progress import ABSENT, ANSWERED, ASKED, Event
from server.schedule import Schedule


@dataclass
class ProgressState:
    """A study at one moment.

    Attributes:
        began: when its newest attempt began; None before the first.
        ended: how that ended, ``finished`` or ``failed``; None while it has not.
        reason: of a failure.
        stopping: why its process is about to be ended from outside; empty if it is not.
        schedule: phases, rounds and the time left.
        contributors: of the last finished round.
        asked: since when each site has been at work on what it was asked.
        absent: since when each site has been waited for at the beginning.
        notes: what was said last of each site, if all is not well with it.
        noted: when.
    """

    began: datetime | None = None
    ended: str | None = None
    reason: str = ""
    stopping: str = ""
    schedule: Schedule = field(default_factory=Schedule)
    contributors: tuple[str, ...] = ()
    asked: dict[str, datetime] = field(default_factory=dict)
    absent: dict[str, datetime] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    noted: dict[str, datetime] = field(default_factory=dict)


def progress_state(events: Iterable[Event]) -> ProgressState:
    """The state after ``events``."""
    state = ProgressState()
    for event in events:
        _take(state, event)
    return state


def _take(state: ProgressState, event: Event) -> None:
    values = event.values
    state.schedule.take(event)
    match event.name:
        case "began":
            state.began, state.ended, state.reason, state.stopping = event.time, None, "", ""
            state.asked, state.absent, state.notes, state.noted = {}, {}, {}, {}
        case "finished" | "failed":
            state.ended, state.reason = event.name, str(values.get("reason", ""))
        case "stopping" | "goes_on":
            state.stopping = str(values.get("reason", ""))
        case "phase":
            state.contributors = ()
        case "advance":
            state.contributors = tuple(values["contributors"])
        case "site":
            _site(state, values["name"], values["doing"], values.get("at_work") is True, event.time)


def _site(state: ProgressState, name: str, doing: str, at_work: bool, time: datetime) -> None:
    if doing == ABSENT:
        state.absent[name] = time
        return
    state.absent.pop(name, None)
    if doing in (ASKED, ANSWERED):
        state.notes.pop(name, None)
        if doing == ASKED:
            state.asked[name] = time
        else:
            state.asked.pop(name, None)
        return
    state.notes[name], state.noted[name] = doing, time
    if not at_work:
        state.asked.pop(name, None)
