"""Sends the public key to the coordinator, over TLS that trusts the kit's authority and no other."""

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import httpx
from pydantic import ValidationError

from client.enrolment.kit import CLOCK_TOLERANCE, Kit
from common.enrolment import LARGEST_MESSAGE, PATH, EnrolmentReply, EnrolmentRequest, Refusal, RefusalReply
from common.errors import ConfigError

TIMEOUT = 30.0
"""Seconds for a connection, and for each part of an answer."""

_NOT_YET_VALID, _EXPIRED = 9, 10
_OTHER_HOST, _OTHER_ADDRESS = 62, 64
"""OpenSSL's X509_V_ERR_ numbers."""

REASONS: dict[Refusal, str] = {
    Refusal.UNKNOWN_TOKEN: "does not know this token for this site: it was replaced by a newer kit, or the kit belongs "
    "to another federation. Use the newest kit, or ask the coordinator for one (--renew {site})",
    Refusal.USED_TOKEN: "says that this kit was used already, with another key. If you joined from another folder, use "
    "that one. If nobody here did, tell the coordinator at once: somebody else joined in your name",
    Refusal.EXPIRED_TOKEN: "says that the kit's token has expired. Ask the coordinator for a new kit (--renew {site})",
    Refusal.REVOKED: "has revoked this site. Ask the coordinator why; a new kit (--renew {site}) would invite it again",
    Refusal.KEY_TYPE: "does not accept this key's type, which must be ECDSA on P-384. Move keys/ out of the node's "
    "folder and try again, and a new key is made",
    Refusal.KEY_IN_USE: "does not take this key, because it was in use before. Move keys/ out of the node's folder and "
    "try again, and a new key is made",
    Refusal.TOO_MANY: "has had too many requests from this address. Wait a minute and try again",
    Refusal.UNAVAILABLE: "cannot enrol anyone just now. Tell the coordinator; the kit was not used up",
    Refusal.MALFORMED: "does not understand this version of oncofed. Agree on a version with the coordinator",
    Refusal.TOO_LARGE: "does not understand this version of oncofed. Agree on a version with the coordinator",
}
"""What the coordinator answered, to follow its address."""


class EnrolmentError(ConfigError):
    """The coordinator could not be reached, is not who it should be, or did not enrol this site."""


@dataclass(frozen=True)
class Answer:
    """What an enrolled site was told.

    Attributes:
        reply: the federation's name and the SuperLink's address.
        clock: how far this machine's clock is ahead of the coordinator's; None if it did not say.
    """

    reply: EnrolmentReply
    clock: timedelta | None

    @property
    def at(self) -> datetime:
        """When, by the coordinator's clock if it said."""
        now = datetime.now(UTC) - (self.clock or timedelta(0))
        return now.replace(microsecond=0)


def request_enrolment(kit: Kit, public_key: str) -> Answer:
    """Enrols ``public_key`` with the kit's token.

    A proxy that the environment names (``HTTPS_PROXY``) is used; TLS goes through it to the coordinator.

    Args:
        kit: whose token is used up.
        public_key: one line as of :func:`common.node_keys.public_line`.

    Raises:
        EnrolmentError: naming the cause and the way out.
    """
    address = kit.description.address
    body = EnrolmentRequest(site=kit.description.site, token=kit.token, public_key=public_key)
    trust = ssl.create_default_context(cadata=kit.certificate.decode("ascii"))
    try:
        with (
            httpx.Client(verify=trust, timeout=TIMEOUT) as client,
            client.stream("POST", f"https://{address}{PATH}", json=body.model_dump()) as response,
        ):
            content = b""
            for part in response.iter_bytes():
                content += part
                if len(content) > LARGEST_MESSAGE:
                    break
    except httpx.HTTPError as error:
        raise EnrolmentError(_not_reached(address, error)) from error
    return _understood(kit, response, content)


def _understood(kit: Kit, response: httpx.Response, content: bytes) -> Answer:
    address, clock = kit.description.address, _clock(response)
    try:
        if response.status_code == 200:
            reply = EnrolmentReply.model_validate_json(content)
        else:
            refusal = RefusalReply.model_validate_json(content).error
            raise EnrolmentError(f"{address} {REASONS[refusal].format(site=kit.description.site)}{_clock_note(clock)}.")
    except ValidationError as error:
        raise EnrolmentError(
            f"{address} answered, but not as an enrolment service does (HTTP {response.status_code}); ask the "
            "coordinator whether it is running and the proxy passes /enrol on. Try again afterwards with the same kit"
        ) from error
    if reply.federation != kit.description.federation:
        raise EnrolmentError(
            f"{address} belongs to the federation {reply.federation}, the kit to {kit.description.federation}; ask the "
            "coordinator for the right kit"
        )
    return Answer(reply, clock)


def _not_reached(address: str, error: httpx.HTTPError) -> str:
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _not_trusted(address, cause)
    if isinstance(error, httpx.ProxyError):
        return (
            f"{address}: the proxy that HTTPS_PROXY names did not open a way ({error}); ask your network's people to "
            f"allow CONNECT to {address}, and try again with the same kit"
        )
    if any(isinstance(cause, ssl.SSLError) for cause in _causes(error)):
        return (
            f"{address} was reached but does not speak TLS as it should ({error}); ask the coordinator whether the "
            "address and port are right, and try again with the same kit"
        )
    return (
        f"{address} cannot be reached ({str(error) or type(error).__name__}); check the name and port, that your "
        f"firewall lets this machine connect to {address}, whether HTTPS_PROXY must be set, and that the coordinator's "
        "server is running. Try again afterwards with the same kit"
    )


def _not_trusted(address: str, error: ssl.SSLCertVerificationError) -> str:
    now = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    if error.verify_code == _EXPIRED:
        return (
            f"{address}: the server's certificate has expired. This machine's clock says {now}: if that is right, the "
            "coordinator must make a new one (oncofed-server provision --renew-server); otherwise set the clock (NTP). "
            "Try again afterwards with the same kit"
        )
    if error.verify_code == _NOT_YET_VALID:
        return (
            f"{address}: the server's certificate is not valid yet, so this machine's clock ({now}) is behind, or the "
            "coordinator's was ahead; set the clock (NTP) and try again with the same kit"
        )
    if error.verify_code in (_OTHER_HOST, _OTHER_ADDRESS):
        return (
            f"{address}: the server's certificate is for another name; the coordinator must make one for this address "
            "(oncofed-server provision --renew-server). Try again afterwards with the same kit"
        )
    return (
        f"{address}: the server's certificate was not signed by the authority in the kit ({error.verify_message}). "
        "Either something on the way inspects TLS, then have this address excepted from it; or another server answers "
        "there, then ask the coordinator. The token was not sent"
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _clock(response: httpx.Response) -> timedelta | None:
    try:
        return datetime.now(UTC) - parsedate_to_datetime(response.headers["date"]).astimezone(UTC)
    except (KeyError, ValueError, TypeError):
        return None


def _clock_note(clock: timedelta | None) -> str:
    if clock is None or abs(clock) < CLOCK_TOLERANCE:
        return ""
    return f" (this machine's clock is {describe_clock(clock)} the coordinator's; set one of them)"


def describe_clock(clock: timedelta) -> str:
    """How far this machine's clock is off, e.g. ``12 min ahead of``."""
    minutes = round(abs(clock).total_seconds() / 60)
    return f"{minutes} min {'ahead of' if clock > timedelta(0) else 'behind'}"
