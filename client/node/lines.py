"""From the lines of Flower's node to sentences for the hospital's operator."""

import re
from collections.abc import Callable

_RECEIVED = re.compile(r"Receiving: (\S+) message")
_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
_CAUSES = (
    (
        "certificate has expired",
        "the coordinator's certificate has expired, or this machine's clock is wrong; doctor tells which",
    ),
    (
        "certificate is not yet valid",
        "the coordinator's certificate is not valid yet: this machine's clock is behind; set it (NTP)",
    ),
    (
        "certificate verify failed",
        "the coordinator's certificate was not signed by the authority in ca.crt: something on the way inspects TLS, "
        "or another server answers; oncofed-client doctor tells more",
    ),
    (
        "SSL/TLS handshake error",
        "TLS with the coordinator does not come about; oncofed-client doctor tells more",
    ),
    (
        "Failed to activate SuperNode",
        "the coordinator does not let this node in: its key was revoked or replaced by a newer kit, or an earlier node "
        "of this site is taken for connected still, which passes within a minute",
    ),
    (
        "401 unauthorized",
        "the coordinator does not know this node: its server was started again, the site was revoked, or this "
        "machine's clock is minutes off (oncofed-client doctor)",
    ),
)


class NodeLines:
    """Takes each line of the node, tells what an operator wants to know, and remembers why it may have ended.

    Args:
        address: of the coordinator.
        tell: is given a sentence.

    Attributes:
        cause: what the last lines say about an end; empty if they say nothing.
        refusal: our own error, if the node printed one: then it has not started at all.
        connected: whether the coordinator has let the node in.
    """

    def __init__(self, address: str, tell: Callable[[str], None]) -> None:
        self.address = address
        self._tell = tell
        self._out_of_reach = self._ending = False
        self.cause = ""
        self.refusal = ""
        self.connected = False

    def __call__(self, line: str) -> None:
        """Takes a line. What the node's own helpers say once it is going down means nothing."""
        text = _ESCAPES.sub("", line)
        if "SuperNode ID:" in text or "Connection successful after" in text:
            if not self.connected or self._out_of_reach:
                self._tell(f"connected to {self.address}")
            self.connected, self._out_of_reach, self.cause = True, False, ""
        elif received := _RECEIVED.search(text):
            self._tell(f"asked: {received[1]}")
        elif "Shutting down" in text:
            self._ending = True
        elif "retrying in" in text and not self._out_of_reach and not self._ending:
            self._tell(f"{self.address} cannot be reached; it is tried again until it can")
            self._out_of_reach = True
        elif text.startswith("bundle refused: "):
            self._tell(text)
        elif text.startswith("error: "):
            self.refusal = text.removeprefix("error: ")
        for sign, cause in _CAUSES:
            if sign.lower() in text.lower():
                self.cause = cause
                break
