"""Where a study stands among its phases, and how long the rest may take."""

from collections.abc import Sequence

from common.study.progress import Event


class Schedule:
    """Where a study stands among its phases, and how long the rest may take.

    >>> schedule = Schedule()
    >>> schedule.plan([("GAN cgan", 6), ("classifier", 4)])
    >>> schedule.begin("GAN cgan", 6)
    >>> schedule.finish_round(1, seconds=10)
    >>> schedule.finish_round(2, seconds=20)
    >>> schedule.seconds_left()
    120.0
    """

    def __init__(self) -> None:
        self.phases: list[tuple[str, int]] = []
        self.current = -1
        self.rounds_done = 0
        self._seconds: list[float] = []

    def take(self, event: Event) -> None:
        """Moves on with a study's progress; other events change nothing."""
        values = event.values
        match event.name:
            case "plan":
                self.plan([(name, total) for name, total in values["phases"]])
            case "phase":
                self.begin(values["name"], values["total"])
            case "advance":
                self.finish_round(values["round"], values["seconds"])

    def plan(self, phases: Sequence[tuple[str, int]]) -> None:
        """Names every phase with its rounds, in order."""
        self.phases = list(phases)
        self.current = -1

    def begin(self, name: str, total: int) -> None:
        """Moves on to a phase; one that was not planned is added where the study stands."""
        following = [i for i, (planned, _) in enumerate(self.phases) if planned == name and i > self.current]
        if following:
            self.current = following[0]
            self.phases[self.current] = (name, total)
        else:
            self.current += 1
            self.phases.insert(self.current, (name, total))
        self.rounds_done = 0

    def finish_round(self, round: int, seconds: float) -> None:
        """Takes note of a finished round of the phase that was begun last."""
        self.rounds_done = round
        self._seconds.append(seconds)

    @property
    def name(self) -> str:
        """The phase that was begun last; empty before the first."""
        return self.phases[self.current][0] if self.current >= 0 else ""

    @property
    def rounds(self) -> int:
        """Rounds of that phase."""
        return self.phases[self.current][1] if self.current >= 0 else 0

    def seconds_left(self) -> float | None:
        """Rounds still to come in all phases times the mean of the finished ones; None before the first round."""
        mean = self.seconds_a_round()
        if mean is None:
            return None
        to_come = max(self.rounds - self.rounds_done, 0) + sum(rounds for _, rounds in self.phases[self.current + 1 :])
        return to_come * mean

    def seconds_a_round(self) -> float | None:
        """The mean of the finished rounds; None before the first."""
        return sum(self._seconds) / len(self._seconds) if self._seconds else None


def duration(seconds: float) -> str:
    """Seconds as a person reads them.

    >>> duration(8.26), duration(75), duration(7380)
    ('8 s', '1 min 15 s', '2 h 3 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"
