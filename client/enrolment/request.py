"""Sends the public key to the coordinator, over TLS that trusts the kit's authority and no other."""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import httpx
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from pydantic import ValidationError

from client.enrolment.clock import clock_offset, describe_clock, refused_for
from client.enrolment.diagnosis import distrust, not_reached, of_another_authority
from client.enrolment.kit import Kit
from common.errors import ConfigError
from common.protocol.enrolment import LARGEST_MESSAGE, PATH, EnrolmentReply, EnrolmentRequest, Refusal, RefusalReply
from common.protocol.node_keys import read_public_line
from common.system.safe_json import model_from_json

TIMEOUT = 30.0
"""Seconds for a connection, and for each part of an answer."""

REASONS: dict[Refusal, str] = {
    Refusal.UNKNOWN_TOKEN: "does not know this token for this site: it was replaced by a newer kit, or the kit belongs "
    "to another federation. Use the newest kit, or ask the coordinator for one (--renew {site})",
    Refusal.USED_TOKEN: "says that this kit was used already, with another key. If you joined from another folder, use "
    "that one. If nobody here did, tell the coordinator at once: somebody else joined in your name",
    Refusal.EXPIRED_TOKEN: "says that the kit's token has expired. Ask the coordinator for a new kit (--renew {site})",
    Refusal.REVOKED: "has revoked this site. Ask the coordinator why; a new kit (--renew {site}) would invite it again",
    Refusal.KEY_TYPE: "does not accept this key's type, which must be ECDSA on P-384. Move joining/ out of the node's "
    "folder and try again, and a new key is made",
    Refusal.KEY_IN_USE: "does not take this key, because it was in use before. Move joining/ out of the node's folder "
    "and try again, and a new key is made",
    Refusal.TOO_MANY: "has had too many requests from this address. Wait a minute and try again",
    Refusal.UNAVAILABLE: "cannot enrol anyone just now. Tell the coordinator; the kit was not used up",
    Refusal.MALFORMED: "does not understand this version of oncofed. Agree on a version with the coordinator",
    Refusal.TOO_LARGE: "does not understand this version of oncofed. Agree on a version with the coordinator",
}
"""What the coordinator answered, to follow its address."""


class EnrolmentError(ConfigError):
    """The coordinator could not be reached, is not who it should be, or did not enrol this site."""


class EnrolmentRefusedError(EnrolmentError):
    """The coordinator was reached, and has said no."""


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
        public_key: one line as of :func:`common.protocol.node_keys.public_line`.

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
    answer = _understood(kit, response, content)
    if not _certifies(answer.reply.certificate, public_key, kit):
        raise EnrolmentError(
            f"{address} enrolled this site, but the certificate that it sent is not of this site's key, or not by the "
            "kit's authority; ask the coordinator. Try again afterwards with the same kit"
        )
    return answer


def _certifies(certificate: str, public_key: str, kit: Kit) -> bool:
    try:
        sent = x509.load_pem_x509_certificate(certificate.encode())
        sent.verify_directly_issued_by(x509.load_pem_x509_certificate(kit.certificate))
    except (ValueError, TypeError, InvalidSignature):
        return False
    return sent.public_key() == read_public_line(public_key)


def _understood(kit: Kit, response: httpx.Response, content: bytes) -> Answer:
    address, clock = kit.description.address, clock_offset(response)
    try:
        if response.status_code == 200:
            reply = model_from_json(EnrolmentReply, content)
        else:
            refusal = model_from_json(RefusalReply, content).error
            raise EnrolmentRefusedError(
                f"{address} {REASONS[refusal].format(site=kit.description.site)}{_clock_note(clock)}."
            )
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
    untrusted = distrust(error)
    foreign = untrusted is not None and of_another_authority(untrusted)
    afterwards = "The token was not sent" if foreign else "Try again afterwards with the same kit"
    return f"{not_reached(address, error)}. {afterwards}"


def _clock_note(clock: timedelta | None) -> str:
    if clock is None or not refused_for(clock):
        return ""
    return f" (this machine's clock is {describe_clock(clock)} the coordinator's; set one of them)"
