"""What a guarded node tells its supervisor: events in words of ours, over a pipe that only the two of them hold.

What Flower prints is for ``node.log``. It holds texts that a coordinator chose, so that nothing is decided by it.
"""

import contextlib
import os
import sys
from enum import StrEnum

from common.study.progress import Event, Listener
from common.system.outside import printable, say

VARIABLE = "ONCOFED_NODE_EVENTS"
"""In the environment of a supervised node: the number of its end of the pipe."""

_LONGEST_TEXT = 900
"""Characters; a line must fit into a pipe's atomic write of 4,096 bytes."""


class NodeEvent(StrEnum):
    """What happened at a node: the name of an event, whose value ``text`` says more.

    Attributes:
        CONNECTED: the coordinator answers, for the first time or again.
        CONTACT: it has answered one of the calls by which a node says that it is there.
        UNREACHABLE: it did not answer, and is asked again; ``text`` is a :class:`client.node.causes.Cause`.
        FAILED: it did not answer as a node needs it, and the node may end; ``text`` is a ``Cause``.
        BUNDLE_REFUSED: an app bundle is not run; ``text`` says why.
        REFUSED: the node cannot start until something is put right; ``text`` is the error.
        TROUBLE: the node ends for another reason; ``text`` is the error.
    """

    CONNECTED = "connected"
    CONTACT = "contact"
    UNREACHABLE = "unreachable"
    FAILED = "failed"
    BUNDLE_REFUSED = "bundle refused"
    REFUSED = "refused"
    TROUBLE = "trouble"


def node_event(name: NodeEvent, text: str = "") -> Event:
    """An event of a node."""
    return Event(name, {"text": printable(text, _LONGEST_TEXT)})


def to_supervisor() -> Listener:
    """The way to this node's supervisor; without one, to whoever reads the node's output. Ask for it first, and once.

    Programs that the node starts do not inherit it.
    """
    given = os.environ.pop(VARIABLE, "")
    if not given.isdecimal():
        return _print
    descriptor = int(given)
    os.set_inheritable(descriptor, False)
    # A supervisor that does not listen must not hold up the node.
    os.set_blocking(descriptor, False)

    def tell(event: Event) -> None:
        with contextlib.suppress(OSError):
            os.write(descriptor, f"{event.to_line(ascii_only=False)}\n".encode(errors="replace"))

    return tell


def _print(event: Event) -> None:
    if event.name != NodeEvent.CONTACT:
        say(f"{event.name}: {event.values['text']}", stream=sys.stderr)
