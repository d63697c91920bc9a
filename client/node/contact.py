"""A node's calls to its coordinator, watched: when it last answered, and why it does not."""

import os
import signal
import threading
import time
from typing import Any

import httpx

from client.node.causes import Cause, cause_of
from client.node.events import NodeEvent, node_event
from common.study.progress import Listener

PATIENCE = 90.0
"""Seconds without contact after which a node is of no use. A node says that it is there every 30 seconds, and the
coordinator gives its work to nobody and takes it for gone after 60: to start it again then loses nothing."""

_HEARTBEAT = "SendNodeHeartbeat"
_ALIVE = ("ActivateNode", _HEARTBEAT)
"""The calls by which a coordinator knows that a node is there; the heartbeat goes on while a training runs."""
_METHODS = (
    *_ALIVE,
    *("PullMessages", "PushMessages", "GetRun", "GetFab", "PushObject", "PullObject", "ConfirmMessageReceived"),
)
_TRIED_AGAIN = (502, 503, 504)
"""By Flower itself."""
_PASSING = (429, 500, 507)
"""What a crowded server answers too, where Flower gives up at once: a node would lose the work it has done."""


class Contact:
    """What this node knows of its coordinator.

    Args:
        tell: is told of changes.

    Attributes:
        last: ``time.monotonic()`` when the coordinator last knew that this node is there; None before.
    """

    def __init__(self, tell: Listener) -> None:
        self.last: float | None = None
        self._tell = tell
        self._reached = False
        self._failing: dict[str, float] = {}
        self._lock = threading.Lock()

    def answered(self, method: str) -> None:
        """The coordinator has answered a call."""
        with self._lock:
            again, self._reached = not self._reached, True
            self._failing.pop(method, None)
        if method in _ALIVE:
            self.last = time.monotonic()
            self._tell(node_event(NodeEvent.CONTACT))
        if again:
            self._tell(node_event(NodeEvent.CONNECTED))

    def failed(self, method: str, error: Exception) -> Exception:
        """A call has failed; returns what Flower is to be told, by which it tries again or does not."""
        cause = cause_of(error, method)
        status = error.response.status_code if isinstance(error, httpx.HTTPStatusError) else None
        crowded = status in _PASSING and self._is_new(method)
        self._note(method, cause, again=crowded or status in _TRIED_AGAIN or cause is Cause.NETWORK)
        return httpx.ReadError(f"the server answered {status}") if crowded else error

    def disowned(self) -> None:
        """The coordinator has answered a heartbeat, and does not know this node."""
        self._note(_HEARTBEAT, Cause.UNKNOWN, again=False)

    def _note(self, method: str, cause: Cause, *, again: bool) -> None:
        self._reached = False
        self._tell(node_event(NodeEvent.UNREACHABLE if again else NodeEvent.FAILED, cause))
        # Flower's thread for heartbeats would end here, and the node live on unheard.
        if method == _HEARTBEAT and not again:
            os.kill(os.getpid(), signal.SIGTERM)

    def _is_new(self, method: str) -> bool:
        now = time.monotonic()
        with self._lock:
            return now - self._failing.setdefault(method, now) < PATIENCE


def install_contact(contact: Contact, client: Any) -> None:
    """Lets ``contact`` know of each call of a node to its coordinator, and of what came of it.

    Args:
        client: ``flwr.supernode.fleet_http_client.FleetHttpClient``.
    """
    for method in _METHODS:
        setattr(client, method, _watched(contact, method, getattr(client, method)))


def _watched(contact: Contact, method: str, original: Any) -> Any:
    def call(self: Any, request: Any) -> Any:
        try:
            answer = original(self, request)
        except Exception as error:
            told = contact.failed(method, error)
            if told is error:
                raise
            raise told from error
        if method == _HEARTBEAT and not answer.success:
            contact.disowned()
        else:
            contact.answered(method)
        return answer

    return call
