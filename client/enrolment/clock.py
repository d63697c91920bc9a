"""This machine's clock beside the coordinator's, and how far apart Flower lets them be."""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import httpx
from flwr.common.constant import SYSTEM_TIME_TOLERANCE, TIMESTAMP_TOLERANCE

MOST_AHEAD = timedelta(seconds=SYSTEM_TIME_TOLERANCE)
MOST_BEHIND = timedelta(seconds=TIMESTAMP_TOLERANCE + SYSTEM_TIME_TOLERANCE)
"""A node signs the time of each message. Flower refuses one from the future, or older than a few minutes."""

WORTH_SETTING = timedelta(seconds=60)
_HALF_A_SECOND = timedelta(seconds=0.5)
"""The server tells whole seconds, rounded down."""


def clock_offset(response: httpx.Response) -> timedelta | None:
    """How far this machine's clock is ahead of the server's, to about a second; None if the server did not say.

    Args:
        response: just received.
    """
    try:
        theirs = parsedate_to_datetime(response.headers["date"]).astimezone(UTC)
    except (KeyError, ValueError, TypeError):
        return None
    return datetime.now(UTC) - theirs - _HALF_A_SECOND


def refused_for(offset: timedelta) -> bool:
    """Whether Flower would refuse the messages of a node whose clock is ``offset`` ahead.

    >>> [refused_for(timedelta(seconds=seconds)) for seconds in (-400, -200, 0, 30)]
    [True, False, False, True]
    """
    return not -MOST_BEHIND < offset < MOST_AHEAD


def describe_clock(offset: timedelta) -> str:
    """How far this machine's clock is off, to stand before "the coordinator's".

    >>> describe_clock(timedelta(minutes=12)), describe_clock(timedelta(seconds=-8))
    ('12 min ahead of', '8 s behind')
    """
    seconds = round(abs(offset).total_seconds())
    amount = f"{seconds} s" if seconds < 120 else f"{round(seconds / 60)} min"
    return f"{amount} {'ahead of' if offset > timedelta(0) else 'behind'}"
