"""From nginx's lines to sentences for the coordinator: who was turned away, and what may be the cause."""

import re
import time
from collections.abc import Callable

from common.enrolment import PATH

_NOTED = re.compile(r"(?P<status>\d\d\d) (?P<address>\S+) (?P<asker>\S+) (?P<method>\S+) (?P<path>/.*)")
_CLIENT = re.compile(r"client: ([0-9a-fA-F.:]+)")
_CONNECTIONS = {
    "/v1/fleet/activate-node": "{address}: a node has connected",
    "/v1/fleet/deactivate-node": "{address}: a node has signed off",
}
_ALERTS = {
    "unknown ca": "it does not trust this server's certificate: its kit is another federation's, or something on its "
    "way inspects TLS",
    "certificate expired": "it finds this server's certificate expired: renew it (oncofed-server provision "
    "--renew-server), unless that site's clock is wrong",
    "bad certificate": "it does not accept this server's certificate: the certificate is for another address than the "
    "site connects to, or that site's clock is wrong",
    "certificate unknown": "it does not accept this server's certificate: its kit is another federation's, or the "
    "certificate is for another address",
}
QUIET = 600.0
"""Seconds in which the same sentence is not told again."""


def sentence(line: str) -> str | None:
    """What a line of nginx means for the coordinator; None if it is of no interest.

    >>> sentence("404 192.0.2.7 node POST /v1/control/start-run")
    '192.0.2.7 asked for /v1/control/start-run, which is not open to the outside; refused'
    """
    if noted := _NOTED.fullmatch(line):
        status, address, path = noted["status"], noted["address"], noted["path"]
        if noted["asker"] == "doctor":
            return f"{address}: a hospital's doctor looked at this server"
        if noted["asker"] == "health" or status.startswith("2"):
            return _CONNECTIONS.get(path, "").format(address=address) or None
        if path == PATH:
            return None  # the enrolment service tells of its own
        if path.startswith("/v1/fleet/") and status in ("401", "403", "412"):
            return (
                f"{address} was not let in: its key may not connect (not enrolled, revoked, or replaced), its clock is "
                "wrong, or it was taken for connected still"
            )
        if status == "404":
            return f"{address} asked for {_plain(path)}, which is not open to the outside; refused"
        if status in ("502", "504"):
            return f"{address} was told to wait: the SuperLink does not answer"
        return f"{address}: {_plain(path)} was answered with {status}"
    client = _CLIENT.search(line)
    if "could not open error log file" in line:
        return None  # the machine's own, which nginx looks at before it reads its configuration
    if client is None:
        return _plain(line) if "[emerg]" in line or "[alert]" in line or "[crit]" in line else None
    if "SSL_do_handshake" in line or "SSL_read" in line:
        for alert, meaning in _ALERTS.items():
            if f"alert {alert}" in line:
                return f"{client[1]} broke off: {meaning}"
    return None


class Teller:
    """Tells each sentence once in a while, however often it comes."""

    def __init__(self, tell: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._tell = tell
        self._clock = clock
        self._told: dict[str, float] = {}

    def __call__(self, line: str) -> None:
        """Takes a line of nginx."""
        text = sentence(line)
        now = self._clock()
        if text is None or now - self._told.get(text, -QUIET) < QUIET:
            return
        # The addresses are the world's: what was told long ago is forgotten.
        self._told = {known: at for known, at in self._told.items() if now - at < QUIET}
        self._told[text] = now
        self._tell(text)


def _plain(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)[:200]
