"""A supervisor's view of its node: from the node's events to sentences, and how long it has not been heard of."""

import os
import threading
import time
from collections.abc import Callable

from client.node.causes import SENTENCES, Cause
from client.node.events import NodeEvent
from common.study.progress import Event
from common.system.outside import printable

_LONGEST_LINE = 8_192


class NodeWatch:
    """Takes each event of one life of a node.

    Args:
        address: of the coordinator.
        say: is given a sentence.

    Attributes:
        cause: why the node may have ended; empty if that is not known.
        refusal: why it cannot start at all; empty if it can.
        connected: whether the coordinator has let it in.
    """

    def __init__(self, address: str, say: Callable[[str], None]) -> None:
        self.address = address
        self._say = say
        self._heard = time.monotonic()
        self._out_of_reach = False
        self.cause = ""
        self.refusal = ""
        self.connected = False

    def __call__(self, line: str) -> None:
        """Takes an event as it came; what is none is left out."""
        try:
            told = Event.from_line(line)
            event, text = NodeEvent(told.name), printable(told.values.get("text", ""), 1000)
        except (ValueError, TypeError, AttributeError):
            return
        # A node that was not let in yet is well as long as it tries.
        if event is NodeEvent.CONTACT or not self.connected:
            self._heard = time.monotonic()
        if event is NodeEvent.CONNECTED:
            if not self.connected or self._out_of_reach:
                self._say(f"connected to {self.address}")
            self.connected, self._out_of_reach, self.cause = True, False, ""
        elif event in (NodeEvent.UNREACHABLE, NodeEvent.FAILED):
            self._failed(text, again=event is NodeEvent.UNREACHABLE)
        elif event is NodeEvent.BUNDLE_REFUSED:
            self._say(f"bundle refused: {text}")
        elif event is NodeEvent.REFUSED:
            self.refusal = text
        elif event is NodeEvent.TROUBLE:
            self.cause = self.cause or text

    def silent(self) -> float:
        """Seconds since the coordinator last knew that the node is there, or since it last tried to get in."""
        return time.monotonic() - self._heard

    def listen(self, descriptor: int) -> threading.Thread:
        """Takes events from a pipe, in a thread of its own, until its other end is closed."""
        thread = threading.Thread(target=self._listen, args=(descriptor,), daemon=True)
        thread.start()
        return thread

    def _listen(self, descriptor: int) -> None:
        with os.fdopen(descriptor, encoding="utf-8", errors="replace", newline="\n") as lines:
            while line := lines.readline(_LONGEST_LINE):
                self(line)

    def _failed(self, cause: str, *, again: bool) -> None:
        self.cause = SENTENCES.get(Cause(cause), "") if cause in set(Cause) else ""
        if again and not self._out_of_reach:
            why = "" if cause == Cause.NETWORK else f" ({self.cause})"
            self._say(f"{self.address} cannot be reached; it is tried again until it can{why}")
            self._out_of_reach = True
