"""Answers as something that anybody may have sent: what cannot be read is one site's missing answer, and no more.

Flower's own grid builds what a node pushed before anybody has looked at it: what does not fit ends the study, what
names a part a thousand times fills the memory, what never comes is waited for. And who answers what is read from the
answer. So the parts are fetched here, as far as they have come, weighed, and read; what is known of the question
stands.
"""

import copy
import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
from flwr.app import Error, Message, Metadata, RecordDict
from flwr.app.message import make_message
from flwr.common.constant import SUPERLINK_NODE_ID, ErrorCode
from flwr.proto.message_pb2 import ConfirmMessageReceivedRequest, PullObjectRequest
from flwr.proto.runtime_pb2 import PullAppMessagesRequest
from flwr.serverapp import Grid
from flwr.supercore.inflatable.inflatable_object import (
    get_object_body,
    get_object_head_values_from_object_content,
)
from flwr.supercore.inflatable.inflatable_utils import inflatable_class_registry, inflate_object_from_contents
from flwr.superlink.grid.http_grid import HttpGrid

from common.errors import ConfigError
from server.passing_grid import PassingGrid
from server.returning import OwnError

MOST_BYTES = 1 << 30
"""That an answer takes in memory, unless the study says otherwise."""
MOST_PARTS = 50_000
"""Of an answer: each part of 5 MiB of each array is one, and each record."""
DEEPEST = 8
"""Levels of an answer's parts: message, records, record, array, part."""
OBJECTS = 64
"""Bytes that Python takes for one byte of a record: a small number or a short text is an object of its own."""
LOOK_SECONDS = 5.0
"""That one look at one answer lasts; what is left is fetched at the next one, so that a deadline is kept."""


class _UnreadableError(Exception):
    """Says in our own words why an answer is not read."""


@dataclass
class _Arriving:
    """An answer that was announced.

    Attributes:
        identifier: of its root.
        by_superlink: whether Flower itself answered, for a node that is lost.
        missing: parts that have not been fetched; the next one is the last.
        parts: by ID.
        size: bytes of all parts.
    """

    identifier: str
    by_superlink: bool
    missing: list[str] = field(default_factory=list)
    parts: dict[str, bytes] = field(default_factory=dict)
    size: int = 0


@dataclass
class _Asked:
    """A question, as it was pushed, and as much of its answer as is here."""

    about: Metadata
    arriving: _Arriving | None = None


class WaryGrid(PassingGrid):
    """A grid that believes of an answer its content alone, and that only as far as it can be read.

    Args:
        grid: Flower's, of a deployed study.
        most: bytes that an answer may take in memory.
        clock: tells seconds.

    Raises:
        ConfigError: if ``grid`` is another one.
    """

    def __init__(self, grid: Grid, *, most: int = MOST_BYTES, clock: Callable[[], float] = time.monotonic) -> None:
        if not isinstance(grid, HttpGrid) or not hasattr(HttpGrid, "_runtime_client"):
            raise ConfigError(
                f"a study between institutions needs Flower's HttpGrid, and this is {type(grid).__name__}: start it by "
                "`oncofed-server run`, with the Flower that this release names"
            )
        super().__init__(grid)
        self._flower = grid
        self._most = most
        self._clock = clock
        self._asked: dict[str, _Asked] = {}

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        identifiers = []
        for message in messages:
            self._forget(message.metadata.dst_node_id)
            for identifier in self._grid.push_messages([message]):
                if identifier:
                    about = copy.copy(message.metadata)
                    about.__dict__["_message_id"] = identifier
                    self._asked[identifier] = _Asked(about)
                identifiers.append(identifier)
        return identifiers

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Answers that are here as a whole, and one of our own for each that cannot be read."""
        replies = []
        for identifier in message_ids:
            asked = self._asked.get(identifier)
            reply = self._reply(asked) if asked is not None else None
            if reply is not None:
                del self._asked[identifier]
                replies.append(reply)
        return replies

    def _reply(self, asked: _Asked) -> Message | None:
        content: RecordDict | Error | None
        try:
            if asked.arriving is None:
                self._look(asked)
            if asked.arriving is None or not self._here(asked.arriving, asked.about.run_id):
                return None
            content = _read(asked.arriving, self._most)
        except httpx.NetworkError:
            raise
        except Exception as error:
            # Whatever a site sent, the study goes on.
            why = str(error) if isinstance(error, _UnreadableError) else type(error).__name__
            content = OwnError(ErrorCode.MESSAGE_UNAVAILABLE, f"its answer cannot be read: {why}")
            logging.getLogger("oncofed.server").warning("an answer of node %d: %s", asked.about.dst_node_id, why)
        self._free(asked)
        reply = Message(content, reply_to=make_message(metadata=asked.about, content=RecordDict()))
        if asked.arriving is not None and asked.arriving.by_superlink:
            reply.metadata.__dict__["_src_node_id"] = SUPERLINK_NODE_ID
        return reply

    def _look(self, asked: _Asked) -> None:
        """Whether an answer was announced, and of which parts."""
        question = asked.about.message_id
        response = self._flower._runtime_client.PullMessages(PullAppMessagesRequest(message_ids=[question]))
        for message, tree in zip(response.messages_list, response.message_object_trees, strict=True):
            # The SuperLink's own account of the answer, which its guard compared with the question.
            about = message.metadata
            if about.reply_to_message_id == question:
                asked.arriving = _Arriving(about.message_id, about.src_node_id == SUPERLINK_NODE_ID)
                asked.arriving.missing = _parts(tree)

    def _here(self, arriving: _Arriving, run: int) -> bool:
        """Whether all parts have come; those that have are fetched."""
        until = self._clock() + LOOK_SECONDS
        while arriving.missing:
            if self._clock() > until:
                return False
            identifier = arriving.missing[-1]
            part = self._flower._runtime_client.PullObject(
                PullObjectRequest(node=self._flower.node, run_id=run, object_id=identifier)
            )
            if not part.object_found:
                raise _UnreadableError("parts of it did not come")
            if not part.object_available:
                return False
            arriving.size += len(part.object_content)
            _require_at_most(arriving.size, self._most)
            arriving.parts[identifier] = part.object_content
            arriving.missing.pop()
        return True

    def _forget(self, node: int) -> None:
        """A node has one question at a time: of one before nothing is kept."""
        for identifier, asked in list(self._asked.items()):
            if asked.about.dst_node_id == node:
                self._free(self._asked.pop(identifier))

    def _free(self, asked: _Asked) -> None:
        """Lets the SuperLink forget the parts of an answer."""
        if asked.arriving is not None:
            # Nothing is lost where it has none of them any more.
            with suppress(httpx.HTTPStatusError):
                self._flower._runtime_client.ConfirmMessageReceived(
                    ConfirmMessageReceivedRequest(
                        node=self._flower.node,
                        run_id=asked.about.run_id,
                        message_object_id=asked.arriving.identifier,
                    )
                )


def _parts(tree: Any) -> list[str]:
    """The ID of every part, the root's first; Flower's own walk recurses as deep as an answer says."""
    waiting, found = [tree], dict[str, None]()
    while waiting:
        one = waiting.pop()
        found[one.object_id] = None
        waiting += one.children
        if len(found) + len(waiting) > MOST_PARTS:
            raise _UnreadableError(f"more than {MOST_PARTS} parts")
    return list(found)


def _read(arriving: _Arriving, most: int) -> RecordDict | Error:
    _require_at_most(_weight(arriving.identifier, arriving.parts, {}), most)
    message = inflate_object_from_contents(arriving.identifier, arriving.parts)
    if not isinstance(message, Message):
        raise _UnreadableError("it is no message")
    if message.has_error():
        return message.error
    if not isinstance(message.content, RecordDict):
        raise _UnreadableError("its content is no set of records")
    return message.content


def _require_at_most(size: int, most: int) -> None:
    if size > most:
        raise _UnreadableError(f"it is larger than {most >> 20} MiB")


def _weight(identifier: str, parts: Mapping[str, bytes], known: dict[str, int], level: int = 1) -> int:
    """Bytes of an object once it is read, with all that it names, each as often as it is named."""
    if level > DEEPEST:
        raise _UnreadableError("its parts lie too deep")
    if identifier not in known:
        content = parts[identifier]
        kind, children, _ = get_object_head_values_from_object_content(content)
        weight = len(content) * (1 if kind == "ArrayChunk" else OBJECTS)
        # Flower builds what the head names too, before it compares the two.
        for child, times in (Counter(_named(kind, children, content)) | Counter(children)).items():
            weight += times * _weight(child, parts, known, level + 1)
        known[identifier] = weight
    return known[identifier]


def _named(kind: str, children: list[str], content: bytes) -> Iterable[str]:
    """The objects that one is made of, with repetitions: what Flower reads from its body."""
    if kind in ("Array", "ArrayRecord", "RecordDict"):
        body = json.loads(get_object_body(content, inflatable_class_registry[kind]))
        return [children[place] for place in body["arraychunk_ids"]] if kind == "Array" else list(body.values())
    return children
