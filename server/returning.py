"""Sites that come back within the deadline are given their work again.

Between institutions a node may be killed, restarted or cut off in the middle of a round. Flower then answers for it
with an error, and a site may say by itself that it would work, but not now. This grid keeps both answers back and
sends the same message again once the node is connected. The caller's deadline ends that, or the time that a lost node
is waited for.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from flwr.app import Error, Message, RecordDict
from flwr.common.constant import SUPERLINK_NODE_ID
from flwr.serverapp import Grid

from common.protocol.actions import NOT_NOW
from common.study.progress import LOST
from common.system.outside import quoted
from server.passing_grid import PassingGrid

NODE_LOST = 5
"""Flower's error code where the node's heartbeat stopped before its reply."""
APP_CRASHED = 8
"""Flower's error code where the process that worked on a message died, e.g. for lack of memory."""
MOST_LOSSES = 5
"""Times that a question is sent again because its node was lost: a node comes and goes as its site likes."""
AGAIN_AFTER = 60.0
"""Seconds until a site that said "not now" is asked again."""

PATIENCE = 900.0
"""Seconds that a lost node is waited for, unless the study says otherwise."""


class OwnError(Error):
    """An error in words of this grid, and not of a site: no such object comes from a network."""


@dataclass
class _Asked:
    """A message on its way.

    Attributes:
        first: ID under which the caller knows it.
        content, node, kind, group: what is sent again.
        again_at: when; None while a reply is awaited.
        lost_at: since when its node is gone; None while it is not.
        why: what happened to the last attempt.
        crashes: how often the process that worked on it died.
        losses: how often its node was lost.
    """

    first: str
    content: RecordDict
    node: int
    kind: str
    group: str
    again_at: float | None = None
    lost_at: float | None = None
    why: str = ""
    crashes: int = 0
    losses: int = 0


class ReturningGrid(PassingGrid):
    """A grid that sends a message again to a node that was lost and has returned.

    A node whose last message was never answered, and which is still not connected, is not waited for a second time:
    a site that is gone for good costs a study one such time, not one in each round.

    Args:
        grid: carries the messages.
        patience: seconds that a lost node is waited for.
        again_after: seconds until a site that said "not now" is asked again.
        clock: tells seconds.
        shut_out: why the site of that name cannot come back, empty if it can; such a one is not waited for at all.
    """

    def __init__(
        self,
        grid: Grid,
        *,
        patience: float = PATIENCE,
        again_after: float = AGAIN_AFTER,
        clock: Callable[[], float] = time.monotonic,
        shut_out: Callable[[str], str] = lambda site: "",
    ) -> None:
        super().__init__(grid)
        self.patience = patience
        self._clock = clock
        self._again_after = again_after
        self._asked: dict[str, _Asked] = {}
        """By the ID of the newest attempt."""
        self._unanswered: set[int] = set()
        """Nodes that were lost and have answered nothing since."""
        self._at_once: dict[str, Message] = {}
        self.shut_out = shut_out
        self._names: dict[int, str] = {}

    def why(self, message_id: str) -> str:
        """What keeps the reply to a message away; empty while its node works on it."""
        return next((one.why for one in self._asked.values() if one.first == message_id), "")

    def get_nodes(self) -> Iterable[Any]:
        """Flower's account of every connected node, where the grid below has one."""
        nodes = list(super().get_nodes())
        self._names |= {node.node_id: node.name for node in nodes if node.name}
        return nodes

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        connected = set(self._grid.get_node_ids())
        identifiers = []
        for message in messages:
            node = message.metadata.dst_node_id
            # A node has one question at a time: what the caller waited for in vain is neither sent again nor kept.
            self._asked = {key: one for key, one in self._asked.items() if one.node != node}
            gone = self._shut_out_node(node)
            if gone or (node in self._unanswered and node not in connected):
                identifiers.append(self._refuse(message, gone or "it is not connected"))
                continue
            for identifier in self._grid.push_messages([message]):
                if identifier:
                    metadata = message.metadata
                    self._asked[identifier] = _Asked(
                        identifier, message.content, node, metadata.message_type, metadata.group_id
                    )
                identifiers.append(identifier)
        return identifiers

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Replies that count; what a lost node left unanswered is sent again meanwhile."""
        wanted = set(message_ids)
        here = [self._at_once.pop(one) for one in list(self._at_once) if one in wanted]
        self._send_again(wanted)
        here += self._given_up(wanted)
        waiting = [key for key, one in self._asked.items() if one.first in wanted and one.again_at is None]
        for reply in self._grid.pull_messages(waiting) if waiting else []:
            counted = self._counted(reply)
            if counted is not None:
                here.append(counted)
        return here

    def _counted(self, reply: Message) -> Message | None:
        """The reply under the ID that the caller knows; None if the message is to be sent again."""
        one = self._asked.get(reply.metadata.reply_to_message_id)
        if one is None:
            return reply
        code = reply.error.code if reply.has_error() else None
        one.crashes += code == APP_CRASHED
        # A node that says so itself is there.
        lost = code == NODE_LOST and reply.metadata.src_node_id == SUPERLINK_NODE_ID
        one.losses += lost
        if one.losses > MOST_LOSSES:
            del self._asked[reply.metadata.reply_to_message_id]
            return _answer(one, f"{LOST} {one.losses} times")
        if lost:
            one.again_at = one.lost_at = self._clock()
            one.why = LOST
            self._unanswered.add(one.node)
            return None
        if code == NOT_NOW:
            one.again_at, one.why = self._clock() + self._again_after, quoted(reply.error.reason or "not now")
            return None
        if code == APP_CRASHED and one.crashes == 1:
            one.again_at, one.why = self._clock(), "the process that worked on it died"
            return None
        del self._asked[reply.metadata.reply_to_message_id]
        self._unanswered.discard(one.node)
        reply.metadata.__dict__["_reply_to_message_id"] = one.first
        return reply

    def _send_again(self, wanted: set[str]) -> None:
        due = [
            key
            for key, one in self._asked.items()
            if one.first in wanted and one.again_at is not None and one.again_at <= self._clock()
        ]
        connected = set(self._grid.get_node_ids()) if due else set()
        for key in due:
            one = self._asked[key]
            if one.node not in connected:
                continue
            # A new message: its ID is made of its content and time.
            message = Message(one.content, dst_node_id=one.node, message_type=one.kind, group_id=one.group)
            for identifier in self._grid.push_messages([message]):
                if identifier:
                    del self._asked[key]
                    one.again_at, one.lost_at, one.why = None, None, ""
                    self._asked[identifier] = one

    def _given_up(self, wanted: set[str]) -> list[Message]:
        """Answers of our own for nodes that were lost and have not returned in time, or cannot return."""
        answers = []
        for key, one in [(key, one) for key, one in self._asked.items() if one.first in wanted]:
            reason = self._shut_out_node(one.node)
            if not reason and one.lost_at is not None and self._clock() - one.lost_at > self.patience:
                reason = f"{LOST} and did not return within {self.patience:.0f} s"
            if not reason:
                continue
            del self._asked[key]
            answers.append(_answer(one, reason))
        return answers

    def _shut_out_node(self, node: int) -> str:
        return self.shut_out(self._names[node]) if node in self._names else ""

    def _refuse(self, message: Message, reason: str) -> str:
        """An answer of our own for a node that is gone."""
        identifier = f"not-sent-{len(self._at_once)}-{message.metadata.dst_node_id}-{self._clock()}"
        message.metadata.__dict__["_message_id"] = identifier
        self._at_once[identifier] = Message(OwnError(NODE_LOST, reason), reply_to=message)
        return identifier


def _answer(one: _Asked, reason: str) -> Message:
    """An answer of our own, in the place of a node's."""
    question = Message(one.content, dst_node_id=one.node, message_type=one.kind, group_id=one.group)
    question.metadata.__dict__["_message_id"] = one.first
    return Message(OwnError(NODE_LOST, reason), reply_to=question)
