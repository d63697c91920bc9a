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
        answered: when each site last answered.
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
    answered: dict[str, datetime] = field(default_factory=dict)

    def take(self, event: Event) -> None:
        """Moves on with a study's progress."""
        values = event.values
        self.schedule.take(event)
        match event.name:
            case "began":
                self.began, self.ended, self.reason, self.stopping = event.time, None, "", ""
                self.asked, self.absent, self.notes, self.noted, self.answered = {}, {}, {}, {}, {}
            case "finished" | "failed":
                self.ended, self.reason = event.name, str(values.get("reason", ""))
            case "stopping" | "goes_on":
                self.stopping = str(values.get("reason", ""))
            case "phase":
                self.contributors = ()
            case "advance":
                self.contributors = tuple(values["contributors"])
            case "site":
                _site(self, values["name"], values["doing"], values.get("at_work") is True, event.time)

    def in_words(self, *, running: bool) -> str:
        """Where the study stands: ``running``, ``finished``, or why it is neither.

        Args:
            running: whether a process works on it.
        """
        if running:
            return f"running, but is being stopped: {self.stopping}" if self.stopping else "running"
        if self.ended == "finished":
            return "finished"
        if self.stopping:
            return f"stopped: {self.stopping}"
        if self.ended == "failed":
            return f"stopped: {self.reason}"
        if self.began is None:
            return "handed over, not begun"
        return "stopped without a word; it can be resumed"


def progress_state(events: Iterable[Event]) -> ProgressState:
    """The state after ``events``."""
    state = ProgressState()
    for event in events:
        state.take(event)
    return state


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
            state.answered[name] = time
        return
    state.notes[name], state.noted[name] = doing, time
    if not at_work:
        state.asked.pop(name, None)
