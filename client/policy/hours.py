"""The hours within which a hospital lets its machine work for a study, e.g. ``20:00-06:00``: local time, every day."""

import re
from dataclasses import dataclass
from datetime import time

_SPAN = re.compile(r"([0-9]{1,2}):([0-9]{2})\s*-\s*([0-9]{1,2}):([0-9]{2})")
_DAY = 24 * 60


@dataclass(frozen=True)
class Hours:
    """Spans of the day, in minutes since midnight: begin included, end excluded; one may run over midnight."""

    spans: tuple[tuple[int, int], ...]

    @classmethod
    def parse(cls, text: str) -> "Hours":
        """Spans separated by commas.

        Raises:
            ValueError: for anything else, an hour that no day has, or a span without length.

        >>> Hours.parse("20:00-06:00, 12:00-13:30").spans
        ((1200, 360), (720, 810))
        """
        return cls(tuple(_span(part.strip()) for part in text.split(",")))

    def hold(self, now: time) -> bool:
        """Whether ``now`` is within one of the spans.

        >>> night = Hours.parse("20:00-06:00")
        >>> [night.hold(time(hour)) for hour in (19, 20, 0, 5, 6)]
        [False, True, True, True, False]
        """
        minute = now.hour * 60 + now.minute
        return any(
            begin <= minute < end if begin < end else minute >= begin or minute < end for begin, end in self.spans
        )


def _span(text: str) -> tuple[int, int]:
    parts = _SPAN.fullmatch(text)
    if parts is None:
        raise ValueError(f"{text[:40]!r} is no span of the day; write e.g. 20:00-06:00, several with a comma")
    hour, minute, end_hour, end_minute = map(int, parts.groups())
    begin, end = hour * 60 + minute, end_hour * 60 + end_minute
    if max(minute, end_minute) > 59 or begin >= _DAY or end > _DAY:
        raise ValueError(f"{text!r} names an hour that no day has")
    if begin == end:
        raise ValueError(f"{text!r} has no length; leave hours out for always")
    return begin, end
