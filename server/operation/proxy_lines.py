"""From nginx's lines to sentences for the coordinator: who was turned away, and what may be the cause.

Anybody may have nginx write a line, as often as he likes and with words of his own in it. So a line costs the same
whatever came before, nothing grows with their number, and a minute holds no more than so many sentences.
"""

import re
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace

from common.protocol.enrolment import PATH
from common.system.outside import printable, quoted

_NOTED = re.compile(
    r"(?P<status>\d\d\d) (?P<address>\S+) (?P<asker>\S+) (?P<site>[a-z0-9_-]{1,50}) (?P<method>\S+) (?P<path>/.*)"
)
"""How nginx is told to write (``log_format`` in ``proxy.py``); the site is ``-`` where no key says whose it is."""

_CLIENT = re.compile(r"client: ([0-9a-fA-F.:]{1,45})")
_CONNECTIONS = {
    "/v1/fleet/activate-node": "{who}: a node has connected",
    "/v1/fleet/deactivate-node": "{who}: a node has signed off",
}
_DOCTORS = ("/v1/fleet/pull-messages", "/v1/control/list-runs", "/v1/runtime/pull-messages")
"""What ``oncofed-client doctor`` asks for."""
_KEY = "its key may not connect (not enrolled, revoked, or replaced), or its clock is wrong"
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
_CLOSED = "not open to the outside; refused"

QUIET = 600.0
"""Seconds in which the same is not told again of the same address."""

MOST_REMEMBERED = 2000
"""Pairs of an address and what it did; of more than that, the one told longest ago is forgotten."""

MOST_A_MINUTE = 60
"""Sentences about sites and this machine, and as many about anybody else."""


@dataclass(frozen=True)
class Sentence:
    """What a line means for the coordinator.

    Attributes:
        who: whom it is about: a site's name and address, or an address.
        what: kind of event; the same of the same is told once in a while.
        text: the sentence.
        ours: whether it is about a site, by its key, or about this machine.
        counted: whether it is of use how often it came.
    """

    who: str
    what: str
    text: str
    ours: bool = False
    counted: bool = True


def sentence(line: str) -> Sentence | None:
    """What a line of nginx means for the coordinator; None if it is of no interest.

    >>> sentence("404 192.0.2.7 node - POST /v1/control/start-run").text
    '192.0.2.7 asked for "/v1/control/start-run", which is not open to the outside; refused'
    >>> sentence("200 192.0.2.7 node hospital2 POST /v1/fleet/activate-node").text
    'hospital2 (192.0.2.7): a node has connected'
    """
    if noted := _NOTED.fullmatch(line):
        who = _named(noted["address"], noted["site"])
        found = _of_request(noted["status"], who, noted["asker"], noted["path"], known=noted["site"] != "-")
        return replace(found, ours=noted["site"] != "-") if found is not None else None
    if "could not open error log file" in line:
        return None  # the machine's own, which nginx looks at before it reads its configuration
    client = _CLIENT.search(line)
    if client is None:
        grave = "[emerg]" in line or "[alert]" in line or "[crit]" in line
        # Times and numbers of processes make no other event of it.
        return Sentence("nginx", re.sub(r"\d+", "#", line)[:200], printable(line), ours=True) if grave else None
    if "SSL_do_handshake" in line or "SSL_read" in line:
        for alert, meaning in _ALERTS.items():
            if f"alert {alert}" in line:
                return Sentence(client[1], alert, f"{client[1]} broke off: {meaning}")
    return None


def _of_request(status: str, who: str, asker: str, path: str, *, known: bool) -> Sentence | None:
    def of(what: str, text: str, counted: bool = True) -> Sentence:
        return Sentence(who, what, text, counted=counted)

    shown = quoted(path, 100)
    # Anybody may say that he is one of these: they are believed only in what they do.
    if asker == "doctor" and status in ("401", "404") and path in _DOCTORS:
        return of("doctor", f"{who}: a hospital's doctor looked at this server", counted=False)
    if asker == "health" and (status, path) == ("404", "/"):
        return None
    if status.startswith("2"):
        told = _CONNECTIONS.get(path) if known else None
        return of(path, told.format(who=who), counted=False) if told is not None else None
    if status in ("429", "503"):
        return of(status, f"{who} was told to wait: more at once than it may ask")
    if status == "409":
        return of(
            status, f"{who}: {shown} was refused: it was not asked for this. A node that works as it should does not"
        )
    if status == "507":
        return of(status, f"{who}: more answers than may be kept of it, or of all (serve.site_mib, serve.memory_mib)")
    if path == PATH:
        return None  # the enrolment service tells of its own
    if status in ("495", "496") or (path.startswith("/v1/fleet/") and status in ("400", "403")):
        return of("key", f"{who} was not let in: {_KEY}")
    if path.startswith("/v1/fleet/") and status in ("401", "412"):
        return of("node", f"{who} was not let in: {_KEY}, or it was taken for connected still")
    if status in ("403", "404"):
        return of("closed", f"{who} asked for {shown}, which is {_CLOSED}")
    if status in ("502", "504"):
        return of("502", f"{who} was told to wait: the SuperLink does not answer")
    return of(status, f"{who}: {shown} was answered with {status}")


def _named(address: str, site: str) -> str:
    shown = printable(address, 45)
    return shown if site == "-" else f"{site} ({shown})"


@dataclass
class _Told:
    """When something was told, and how often it came since."""

    at: float
    sentence: Sentence
    since: int = 0


@dataclass
class _Minute:
    """How much was told in the running minute, and how much was not."""

    began: float
    told: int = 0
    left_out: int = 0


class Teller:
    """Tells each thing once in a while, however often it comes; when it is due again, how often it came meanwhile.

    Args:
        tell: is given a sentence.
        clock: tells seconds.
        most_remembered: see :data:`MOST_REMEMBERED`.
        most_a_minute: of sentences about sites and this machine, and of those about anybody else, who cannot keep the
            first from being told.
    """

    def __init__(
        self,
        tell: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        *,
        most_remembered: int = MOST_REMEMBERED,
        most_a_minute: int = MOST_A_MINUTE,
    ) -> None:
        self._tell = tell
        self._clock = clock
        self._most_remembered = most_remembered
        self._most_a_minute = most_a_minute
        self._told: OrderedDict[tuple[str, str], _Told] = OrderedDict()
        """By whom and what, that which was told longest ago first."""
        self._minutes: dict[bool, _Minute] = {}
        """Of sites, and of anybody else."""

    def __call__(self, line: str) -> None:
        """Takes a line of nginx."""
        now = self._clock()
        self._forget(now)
        found = sentence(line)
        if found is None:
            return
        key = (found.who, found.what)
        known = self._told.get(key)
        if known is not None and now - known.at < QUIET:
            known.since += 1
            return
        self._told[key] = _Told(now, found)
        self._told.move_to_end(key)
        if len(self._told) > self._most_remembered:
            self._told.popitem(last=False)
        self._say(f"{found.text}{_count(known, now)}", found.ours, now)

    def _forget(self, now: float) -> None:
        """What was told longest ago, once that is long enough; one a line, or it would cost more than another."""
        oldest = next(iter(self._told.values()), None)
        if oldest is None or now - oldest.at < QUIET:
            return
        self._told.popitem(last=False)
        if count := _count(oldest, now):
            self._say(f"{oldest.sentence.text}{count}", oldest.sentence.ours, now)

    def _say(self, text: str, ours: bool, now: float) -> None:
        minute = self._minutes.get(ours)
        if minute is None or now - minute.began >= 60:
            if minute is not None and minute.left_out:
                self._tell(f"{minute.left_out} more events at the proxy were not told one by one")
            minute = self._minutes[ours] = _Minute(now)
        if minute.told < self._most_a_minute:
            minute.told += 1
            self._tell(text)
        else:
            minute.left_out += 1


def _count(told: _Told | None, now: float) -> str:
    """How often it came since it was told."""
    if told is None or not told.since or not told.sentence.counted:
        return ""
    return f" ({told.since} times more in {(now - told.at) / 60:.0f} minutes)"
