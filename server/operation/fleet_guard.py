"""What a hospital's node may do at the SuperLink: fetch what is for it, and answer what it was asked, once.

Flower checks that a request was signed with a registered key. It does not check that a message comes from the node that
signed it, answers anything, or fits into memory: a registered node could send another one a message in the
coordinator's name, or fill this machine. So each request is looked at here first, and what does not fit is refused
before anything of it is stored.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from threading import RLock
from typing import Any

from starlette.exceptions import HTTPException

from server.operation.quota import Quota

SUPERLINK = 1
"""Flower's number of the SuperLink itself, to which every answer goes."""

MOST_OBJECTS = 50_000
"""Of one message: each part of 5 MiB of each array is one, and each record."""
DEEPEST = 8
"""Levels of a message's objects: message, records, record, array, part."""
OF_AN_OBJECT = 1024
"""Bytes that an object counts at the least: its name and its place are kept before it has come."""
MOST_PUSHES = 8
"""Of one and the same answer."""
LONGEST_HEARTBEAT = 60.0
"""Seconds; Flower takes a node for connected for twice as long as it says itself."""
SWEPT_EVERY = 1.0
"""Seconds between two looks at what the study has fetched."""
MOST_QUESTIONS = 32
"""That are remembered of one node, the newest; a node works on one at a time."""

Then = Callable[[Any], None]
"""Is given the response of a handler."""
Check = Callable[[Any, Any], AbstractContextManager[Then]]
"""Is given request and LinkState, and raises starlette's HTTPException for what is not to be handled."""

asking: ContextVar[str] = ContextVar("asking")
"""The site whose TLS certificate the present request came with."""


@dataclass
class _Question:
    """A message that was handed to a node.

    Attributes:
        run: Flower's number.
        kind, group: that the answer repeats.
        objects: IDs of all its parts, which the node may fetch.
        answer: ID of the node's answer and digest of its tree of objects, once it has come.
        pushes: how often it came; after a broken connection it comes again.
    """

    run: int
    kind: str
    group: str
    objects: frozenset[str]
    answer: tuple[str, str] | None = None
    pushes: int = 0


@dataclass
class _Node:
    """What is known of one node.

    Attributes:
        questions: by ID, the newest last.
        sessions: in which it sends the parts of an answer.
        stored: bytes by ID of each object that it announced or sent.
        total: of them all.
    """

    questions: dict[str, _Question] = field(default_factory=dict)
    sessions: dict[str, None] = field(default_factory=dict)
    stored: dict[str, int] = field(default_factory=dict)
    total: int = 0


class FleetGuard:
    """Stands before Flower's handlers of what nodes ask.

    Args:
        site_of: the site of a node's number; KeyError for an unknown one.
        children_of: IDs of the objects below one that the SuperLink keeps or waits for; None for any other.
        quota: of what is stored.
        clock: tells seconds.
    """

    def __init__(
        self,
        site_of: Callable[[int], str],
        children_of: Callable[[str], Sequence[str] | None],
        quota: Quota,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._site_of = site_of
        self._children_of = children_of
        self._quota = quota
        self._clock = clock
        self._swept = -SWEPT_EVERY
        self._nodes: dict[int, _Node] = {}
        self._lock = RLock()

    def checks(self) -> dict[str, Check]:
        """What stands before each of Flower's handlers, by the handler's name."""
        own = self._own
        return {
            "activate_node": lambda request, state: self._alive(
                request, state.get_node_id_by_public_key(request.public_key) or 0
            ),
            "deactivate_node": lambda request, state: own(request.node_id),
            "send_node_heartbeat": lambda request, state: self._alive(request, request.node.node_id),
            "pull_messages": lambda request, state: self._pulling(request),
            "push_messages": lambda request, state: self._answering(request),
            "push_object": lambda request, state: self._storing(request),
            "get_run": lambda request, state: self._asked(request),
            "get_fab": lambda request, state: self._asked(request),
            "pull_object": lambda request, state: self._asked(request, object_id=request.object_id),
            "confirm_message_received": lambda request, state: self._asked(request, message=request.message_object_id),
        }

    @contextmanager
    def _own(self, node: int) -> Iterator[Then]:
        """Refuses what was signed by one site and came over another one's connection."""
        self._require_own(node)
        yield _nothing

    @contextmanager
    def _alive(self, request: Any, node: int) -> Iterator[Then]:
        """Refuses who would count as connected long after it is gone."""
        self._require_own(node)
        if request.heartbeat_interval > LONGEST_HEARTBEAT:
            raise HTTPException(409, "say more often that you are there")
        yield _nothing

    @contextmanager
    def _asked(self, request: Any, *, object_id: str = "", message: str = "") -> Iterator[Then]:
        """Refuses what is about a run, an object or a message that the node was not handed."""
        node = request.node.node_id
        self._require_own(node)
        with self._lock:
            if not any(
                one.run == request.run_id and (not object_id or object_id in one.objects) and message in ("", key)
                for key, one in self._node(node).questions.items()
            ):
                raise HTTPException(409, "you were not asked for this")
        yield _nothing

    @contextmanager
    def _pulling(self, request: Any) -> Iterator[Then]:
        """Remembers what a node is handed."""
        self._require_own(request.node.node_id)
        yield lambda response: self._handed(request.node.node_id, response)

    @contextmanager
    def _answering(self, request: Any) -> Iterator[Then]:
        """Lets a message pass that answers a question, and remembers the session in which its parts will come."""
        node = request.node.node_id
        self._require_own(node)
        if len(request.messages_list) != 1 or len(request.message_object_trees) != 1:
            raise HTTPException(409, "one message at a time")
        about, tree = request.messages_list[0].metadata, request.message_object_trees[0]
        with self._lock:
            known = self._node(node)
            question = known.questions.get(about.reply_to_message_id)
            answer = (about.message_id, hashlib.sha256(tree.SerializeToString(deterministic=True)).hexdigest())
            if (
                question is None
                or (about.src_node_id, about.dst_node_id) != (node, SUPERLINK)
                or (about.run_id, about.message_type, about.group_id) != (question.run, question.kind, question.group)
                or question.answer not in (None, answer)
                or question.pushes >= MOST_PUSHES
                or about.message_id != tree.object_id
            ):
                raise HTTPException(409, "this answers nothing that you were asked")
            objects = _objects(tree, self._children_of)
            self._require_room(known, OF_AN_OBJECT * sum(one not in known.stored for one in objects))

            def answered(response: Any) -> None:
                question.answer = answer
                question.pushes += 1
                for one in objects:
                    self._count(known, one, OF_AN_OBJECT)
                known.sessions[response.session_id] = None
                _keep_newest(known.sessions)

            yield answered

    @contextmanager
    def _storing(self, request: Any) -> Iterator[Then]:
        """Lets a part of an answer pass that there is room for."""
        node, size = request.node.node_id, max(OF_AN_OBJECT, len(request.object_content))
        self._require_own(node)
        with self._lock:
            known = self._node(node)
            if request.session_id not in known.sessions:
                raise HTTPException(409, "this is no part of an answer of yours")
            self._require_room(known, size - known.stored.get(request.object_id, 0))
            yield lambda response: self._count(known, request.object_id, size) if response.stored else None

    def _require_room(self, known: _Node, more: int) -> None:
        """Refuses what a site, or all together, may not have stored as well."""
        for _ in range(2):
            total = sum(one.total for one in self._nodes.values())
            if known.total + more <= self._quota.site and total + more <= self._quota.total:
                return
            self._sweep()
        raise HTTPException(507, "there is no room for this")

    def _sweep(self) -> None:
        """Forgets what the study has fetched; not more often than now and then, since each object is looked at."""
        if self._clock() - self._swept < SWEPT_EVERY:
            return
        self._swept = self._clock()
        for one in self._nodes.values():
            one.stored = {key: of for key, of in one.stored.items() if self._children_of(key) is not None}
            one.total = sum(one.stored.values())

    @staticmethod
    def _count(known: _Node, object_id: str, size: int) -> None:
        before = known.stored.get(object_id, 0)
        known.stored[object_id] = max(before, size)
        known.total += known.stored[object_id] - before

    def _handed(self, node: int, response: Any) -> None:
        with self._lock:
            known = self._node(node)
            for message, tree in zip(response.messages_list, response.message_object_trees, strict=True):
                about = message.metadata
                known.questions[about.message_id] = _Question(
                    about.run_id, about.message_type, about.group_id, _objects(tree)
                )
            _keep_newest(known.questions)

    def _require_own(self, node: int) -> None:
        try:
            own = self._site_of(node) == asking.get()
        except LookupError:
            own = False
        if not own:
            raise HTTPException(401, "this is not your node")

    def forget(self, nodes: Mapping[int, str]) -> None:
        """Forgets nodes that may no longer connect.

        Args:
            nodes: those that may.
        """
        with self._lock:
            self._nodes = {number: one for number, one in self._nodes.items() if number in nodes}

    def _node(self, node: int) -> _Node:
        return self._nodes.setdefault(node, _Node())


def _objects(tree: Any, children_of: Callable[[str], Sequence[str] | None] = lambda _: None) -> frozenset[str]:
    """The ID of every object of a message.

    Flower keeps them by ID, and walks a message as deep and as wide as its objects say: an ID has the same objects
    below it wherever it stands, and those that it has already, or a short message would become an endless one.

    Raises:
        HTTPException: 409 for more of them, or deeper ones, than a message can have, and for two meanings of one ID.
    """
    waiting, seen = [(tree, 1)], 0
    found: dict[str, list[str]] = {}
    while waiting:
        one, level = waiting.pop()
        below, seen = [child.object_id for child in one.children], seen + 1
        if seen + len(waiting) + len(below) > MOST_OBJECTS or level > DEEPEST:
            raise HTTPException(409, "no message has so many parts")
        if one.object_id not in found:
            known = children_of(one.object_id)
            found[one.object_id] = below if known is None else list(known)
        if found[one.object_id] != below:
            raise HTTPException(409, "an object has different parts in different places")
        waiting += [(child, level + 1) for child in one.children]
    return frozenset(found)


def _keep_newest(some: dict[str, Any]) -> None:
    while len(some) > MOST_QUESTIONS:
        del some[next(iter(some))]


def _nothing(response: Any) -> None:
    """Nothing is to be remembered of the response."""
