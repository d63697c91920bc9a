"""The coordinator's server as a node sees it: its certificate, its clock, and what it answers to."""

import contextlib
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from cryptography import x509

from client.doctor.examination import NetworkCheck, good, problem, warning
from client.doctor.network.route import TIMEOUT
from client.enrolment.clock import WORTH_SETTING, clock_offset, describe_clock, refused_for
from client.enrolment.connection import trusting_context
from client.enrolment.diagnosis import distrust, not_reached, of_another_authority
from common.errors import ConfigError
from common.system.outside import quoted

FLEET = "/v1/fleet/pull-messages"
"""What a node asks for; without a signature it is refused."""

CLOSED = {"control": "/v1/control/list-runs", "runtime": "/v1/runtime/pull-messages"}
"""Harmless questions to the parts of a SuperLink that are the coordinator's own."""

_HEADERS = {"content-type": "application/protobuf", "user-agent": "oncofed-client doctor"}
"""The coordinator can tell such questions from those of somebody who tries doors."""

SOON = timedelta(days=30)
_LARGEST = 65536


@dataclass(frozen=True)
class _Answer:
    """What the server said to one question."""

    status: int
    of_flower: bool


@dataclass(frozen=True)
class _Seen:
    """The server's certificate as TLS gave it, and how far this machine's clock is ahead."""

    expires: datetime | None
    clock: timedelta | None


def look_at_server(address: str, certificate: Path, identity: Path) -> list[NetworkCheck]:
    """TLS, clock, and which parts of the server can be reached; through the proxy if there is one.

    Nothing is sent but empty questions, under this node's own certificate.

    Args:
        address: of the coordinator, ``host:port``.
        certificate: the one authority that is trusted, as PEM.
        identity: the node's certificate and key, as one PEM file.
    """
    try:
        trust = trusting_context(certificate, identity)
    except ConfigError as error:
        return [problem("certificate", str(error))]
    try:
        with httpx.Client(verify=trust, timeout=TIMEOUT) as client:
            fleet, seen = _ask(client, address, FLEET)
            others = {name: _ask(client, address, path)[0] for name, path in CLOSED.items()}
    except httpx.HTTPError as error:
        return [problem("TLS", not_reached(address, error) + _issuer(address, error))]
    return [
        _validity(address, seen.expires),
        _clock(seen.clock),
        _node_api(address, fleet),
        *(_closed(address, name, answer) for name, answer in others.items()),
    ]


def _ask(client: httpx.Client, address: str, path: str) -> tuple[_Answer, _Seen]:
    content = b""
    with client.stream("POST", f"https://{address}{path}", content=b"", headers=_HEADERS) as response:
        seen = _Seen(_expires(response), clock_offset(response))
        for part in response.iter_raw():
            content += part
            if len(content) > _LARGEST:
                break
    kind = response.headers.get("content-type", "")
    of_flower = kind.startswith("application/protobuf") or (
        kind.startswith("application/json") and b'"detail"' in content
    )
    return _Answer(response.status_code, of_flower), seen


def _expires(response: httpx.Response) -> datetime | None:
    tls = response.extensions["network_stream"].get_extra_info("ssl_object")
    told = tls.getpeercert() if tls is not None else None
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(told["notAfter"]), UTC) if told else None


def _validity(address: str, expires: datetime | None) -> NetworkCheck:
    trusted = f"{address} has a certificate by the kit's authority, for this name"
    if expires is None:
        return good("TLS", trusted)
    if expires - datetime.now(UTC) < SOON:
        return warning(
            "TLS",
            f"the server's certificate expires on {expires:%Y-%m-%d}, and no node gets in after that; ask the "
            "coordinator to make a new one (oncofed-server provision --renew-server)",
        )
    return good("TLS", f"{trusted}, valid until {expires:%Y-%m-%d}")


def _clock(offset: timedelta | None) -> NetworkCheck:
    if offset is None:
        return warning("clock", "the server does not tell the time, so this machine's clock could not be compared")
    about = f"this machine's clock is {describe_clock(offset)} the coordinator's"
    if refused_for(offset):
        return problem("clock", f"{about}, and the node would be refused for it; set one of them (NTP)")
    if abs(offset) > WORTH_SETTING:
        return warning("clock", f"{about}; set one of them (NTP) before it is more")
    return good("clock", "this machine's clock agrees with the coordinator's to a few seconds")


def _node_api(address: str, answer: _Answer) -> NetworkCheck:
    if answer.status == 401 and not answer.of_flower:
        return problem(
            "node API",
            f"{address} does not know this node's certificate: the site was revoked, or a newer kit was used "
            "elsewhere; ask the coordinator",
        )
    if answer.status == 401:
        return good(
            "node API",
            "it knows this node's certificate, and asks for a signature of each message",
        )
    if answer.status in (502, 503, 504):
        return problem(
            "node API",
            f"{address} answers, but the SuperLink behind it does not (HTTP {answer.status}); ask the coordinator "
            "whether it is started",
        )
    if answer.status < 300:
        return problem(
            "node API",
            f"{address} lets anyone in without a node's signature; tell the coordinator, and do not start the node "
            "until it is mended",
        )
    return problem(
        "node API",
        f"{address} does not answer as a SuperLink does (HTTP {answer.status}); ask the coordinator whether "
        "/v1/fleet is passed on",
    )


def _closed(address: str, name: str, answer: _Answer) -> NetworkCheck:
    what = f"{name} API"
    if answer.status in (403, 404) and not answer.of_flower:
        return good(what, "not reachable from here, as it should be")
    meaning = {
        "control": "whoever reaches it can start runs on the hospitals' data",
        "runtime": "it is for the coordinator's own programs",
    }[name]
    return problem(
        what,
        f"{address} answers at /v1/{name} from here (HTTP {answer.status}), and {meaning}: the coordinator's server is "
        "open. Tell the coordinator, and do not start the node until only /v1/fleet and /enrol are passed on",
    )


def _issuer(address: str, error: httpx.HTTPError) -> str:
    """Who signed a certificate that is not trusted, so that an inspecting proxy is known by its name."""
    cause = distrust(error)
    if cause is None or not of_another_authority(cause):
        return ""
    blind = ssl.create_default_context()
    blind.check_hostname, blind.verify_mode = False, ssl.CERT_NONE
    with (
        contextlib.suppress(httpx.HTTPError, ValueError),
        httpx.Client(verify=blind, timeout=TIMEOUT) as client,
        client.stream("HEAD", f"https://{address}/", headers=_HEADERS) as response,
    ):
        tls = response.extensions["network_stream"].get_extra_info("ssl_object")
        shown = x509.load_der_x509_certificate(tls.getpeercert(True))
        name = shown.issuer.rfc4514_string()
        return f". The certificate there was issued by {quoted(name) if name else 'nobody named'}"
    return ""
