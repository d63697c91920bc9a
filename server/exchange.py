"""Asking sites and hearing back: one message a site, a deadline, and an account of every site that did not answer."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from common.protocol.records import UnacceptableError
from common.study.progress import ANSWERED, ASKED, LOST, StudyProgress
from common.system.outside import printable, quoted
from server.returning import OwnError, ReturningGrid
from server.roster import Member

POLL_SECONDS = 0.5
"""Longest time between two looks for replies."""

FIRST_POLL_SECONDS = 0.01


@dataclass(frozen=True)
class Answers:
    """What came back.

    Attributes:
        replies: contents by site, sorted by site, so that the order of arrival never matters.
        missing: reason by site for every site that was asked and did not give a usable answer.
    """

    replies: dict[str, RecordDict]
    missing: dict[str, str]


def ask(
    grid: Grid,
    questions: Mapping[str, Message],
    members: Sequence[Member],
    *,
    deadline: float,
    check: Callable[[Member, RecordDict], None],
    progress: StudyProgress,
) -> Answers:
    """Sends one question a site and waits until all have answered or the deadline has passed.

    Args:
        questions: message by site.
        members: the sites that are asked.
        deadline: seconds for all of them together.
        check: raises :class:`UnacceptableError` for a reply that must not be used.
    """
    by_message: dict[str, Member] = {}
    missing: dict[str, str] = {}
    for member in members:
        # One push a message: some grids leave out the ids of messages that they could not take.
        ids = [identifier for identifier in grid.push_messages([questions[member.site]]) if identifier]
        if ids:
            by_message[ids[0]] = member
            progress.site(member.site, ASKED)
        else:
            missing[member.site] = "the message could not be delivered"
    replies: dict[str, RecordDict] = {}
    heard = time.monotonic()
    end = heard + deadline
    told: dict[str, str] = {}
    while by_message:
        arrived = list(grid.pull_messages(list(by_message)))
        for message in arrived:
            # Not src_node_id: a reply that the network layer makes up carries the server's own.
            asked = message.metadata.reply_to_message_id
            if asked not in by_message:
                continue  # a second reply to the same question, or to one that nobody asked
            member = by_message.pop(asked)
            if message.has_error():
                missing[member.site] = _reason(message, member.site)
            else:
                try:
                    check(member, message.content)
                    replies[member.site] = message.content
                except UnacceptableError as refusal:
                    missing[member.site] = f"refused: {printable(refusal, 400)}"
            progress.site(member.site, ANSWERED if member.site in replies else missing[member.site])
        _tell_delays(grid, by_message, told, progress)
        if by_message and time.monotonic() >= end:
            break  # whatever else arrives: the deadline is for all of them together
        if by_message and not arrived:
            time.sleep(pause(time.monotonic() - heard))
        heard = time.monotonic() if arrived else heard
    for identifier, member in by_message.items():
        delay = told.get(identifier)
        missing[member.site] = f"no reply within {deadline:.0f} s" + (f" ({delay})" if delay else "")
        progress.site(member.site, missing[member.site])
    return Answers(
        {site: replies[site] for site in sorted(replies)},
        {site: missing[site] for site in sorted(missing)},
    )


def pause(silence: float) -> float:
    """Seconds until the next look, a tenth of the silence so far: exchanges of gradients are many and short.

    >>> [pause(seconds) for seconds in (0.0, 2.0, 60.0)]
    [0.01, 0.2, 0.5]
    """
    return min(POLL_SECONDS, max(FIRST_POLL_SECONDS, silence / 10))


def _tell_delays(grid: Grid, by_message: Mapping[str, Member], told: dict[str, str], progress: StudyProgress) -> None:
    """Names sites whose work was interrupted and is given to them again, once for each interruption."""
    if not isinstance(grid, ReturningGrid):
        return
    for identifier, member in by_message.items():
        why = grid.why(identifier)
        if why != told.get(identifier, ""):
            told[identifier] = why
            bound = f", {grid.patience:.0f} s at most" if why == LOST else ""
            doing = f"{why}; it is waited for{bound}" if why else "is given its work again"
            progress.site(member.site, doing, at_work=True)


def _reason(message: Message, site: str) -> str:
    """Why a site did not answer: in its own words, in quotation marks, or in ours."""
    if isinstance(message.error, OwnError):
        return str(message.error.reason)
    said = (message.error.reason or "").removeprefix(f"{site}: ")
    return quoted(said, 300) if said else f"error {message.error.code}"
