"""What coordinator and hospital must agree on when a site joins: the start-up kit and the enrolment messages."""

import hashlib
import ipaddress
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from common.protocol.question_keys import QuestionKey

PATH = "/enrol"
"""Where the enrolment service answers, below ``https://<address>``."""

FEDERATION_HEADER = "x-oncofed-federation"
"""Of every answer: whose enrolment service it is."""

LARGEST_MESSAGE = 4096
"""Bytes of a request or of a reply."""

SITE_NAME = r"^[a-z0-9][a-z0-9_-]{0,49}$"
FEDERATION_NAME = r"^[a-z0-9][a-z0-9_-]{0,49}$"
TOKEN = r"^[A-Za-z0-9_-]{43}$"
"""256 random bits in URL-safe base64."""

_HOST = re.compile(
    r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
)


def split_address(address: str) -> tuple[str, int]:
    """Host and port of ``host:port``; an IPv6 address stands in brackets.

    Raises:
        ValueError: if it is something else.

    >>> split_address("fed.example.org:443"), split_address("[::1]:8443")
    (('fed.example.org', 443), ('::1', 8443))
    """
    host, colon, port = address.rpartition(":")
    if not colon or not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        raise ValueError("must be host:port, e.g. fed.example.org:443, without https://")
    if host.startswith("[") and host.endswith("]"):
        return str(ipaddress.IPv6Address(host[1:-1])), int(port)
    # Digits and dots alone are an IPv4 address, or a mistake.
    if re.fullmatch(r"[0-9.]+", host):
        return str(ipaddress.IPv4Address(host)), int(port)
    if not _HOST.fullmatch(host):
        raise ValueError(f"{host!r} is neither a DNS name nor an IP address")
    return host, int(port)


def _checked_address(address: str) -> str:
    split_address(address)
    return address


Address = Annotated[str, AfterValidator(_checked_address)]
"""``host:port`` as in :func:`split_address`."""


def _known_organ(organ: str) -> str:
    # Imported here, as below: only the two ends of a kit need them, and they come with every reader of images.
    from common.imaging.names import ORGANS

    if organ not in ORGANS:
        raise ValueError(f"known organs are {', '.join(ORGANS)}")
    return organ


def _known_reader(reader: str) -> str:
    from common.imaging.readers.registry import READERS

    if reader not in READERS:
        raise ValueError(f"known readers are {', '.join(READERS)}")
    return reader


Organ = Annotated[str, AfterValidator(_known_organ)]
Reader = Annotated[str, AfterValidator(_known_reader)]


class KitFile(StrEnum):
    """The files of a start-up kit.

    A private key is never one of them: it is made at the hospital. Nor are settings: what the hospital allows is its
    own to say, so the template of ``site.yaml`` is the installed release's.
    """

    DESCRIPTION = "kit.json"
    TOKEN = "token"
    CERTIFICATE = "ca.crt"
    README = "README.txt"
    CHECKSUMS = "SHA256SUMS"


class KitDescription(BaseModel):
    """``kit.json``: whom the kit is for, and all that a coordinator may say to a site that joins.

    Attributes:
        version: of the kit's format.
        federation: its name.
        site: name of the site that it brings in.
        address: where the coordinator is reached, ``host:port``.
        made: when the kit was made, by the coordinator's clock.
        token_expires: until when its token can be used.
        questions: the key by which the site knows the coordinator's questions.
        organ: of the site, as the coordinator proposes it.
        reader: of its images, likewise; None leaves the usual one of the organ.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[2] = 2
    federation: str = Field(pattern=FEDERATION_NAME)
    site: str = Field(pattern=SITE_NAME)
    address: Address
    made: AwareDatetime
    token_expires: AwareDatetime
    questions: QuestionKey
    organ: Organ
    reader: Reader | None = None


def checksums(files: Mapping[str, bytes]) -> bytes:
    """The text of ``SHA256SUMS`` for ``files``, as ``sha256sum`` writes it.

    >>> checksums({"token": b""}).decode()
    'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  token\\n'
    """
    return "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files)).encode()


class EnrolmentRequest(BaseModel):
    """What a site sends once: its name, its token and its public key.

    Attributes:
        site: its name.
        token: the one of its kit.
        public_key: one line as of :func:`~common.protocol.node_keys.public_line`; its type is checked apart, so
            that the answer can say so.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    site: str = Field(pattern=SITE_NAME)
    token: str = Field(pattern=TOKEN)
    public_key: str = Field(min_length=1, max_length=1024)


class EnrolmentReply(BaseModel):
    """What an enrolled site is told.

    Attributes:
        federation: its name.
        address: where its SuperLink is.
        certificate: the one by which the proxy knows this site's node, as PEM.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    federation: str = Field(pattern=FEDERATION_NAME)
    address: Address
    certificate: str = Field(max_length=LARGEST_MESSAGE)


class Refusal(StrEnum):
    """Why a site is not enrolled; the word that travels."""

    MALFORMED = "malformed"
    TOO_LARGE = "too_large"
    TOO_MANY = "too_many"
    UNAVAILABLE = "unavailable"
    UNKNOWN_TOKEN = "unknown_token"
    USED_TOKEN = "used_token"
    EXPIRED_TOKEN = "expired_token"
    REVOKED = "revoked"
    KEY_TYPE = "key_type"
    KEY_IN_USE = "key_in_use"


class RefusalReply(BaseModel):
    """A refusal as it travels: the word for the program, and a sentence for whoever reads the raw reply."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    error: Refusal
    message: str = ""
