"""The cause of a failed call is found from the exception that a real server makes Flower's client raise."""

import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from coordinator import HTML, coordinator
from enrolment_service import free_port
from flwr.proto.fleet_pb2 import ActivateNodeRequest, PullMessagesRequest
from flwr.supernode.fleet_http_client import FleetHttpClient

from client.node.causes import Cause, cause_of
from server.provision.authority import make_server_certificate, open_authority
from server.provision.registry import utc_now


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates of two authorities for localhost: in time, too late, too early."""
    root = tmp_path_factory.mktemp("tls")
    now = utc_now()
    own, other = (open_authority(root / name, "tumours", 30, now) for name in ("own", "other"))
    for name, authority, begin, days in (
        ("good", own, now, 3),
        ("late", own, now, 0),
        ("early", own, now + timedelta(days=9), 3),
        ("foreign", other, now, 3),
    ):
        make_server_certificate(root / name, authority, "localhost", days, begin)
    return root


def cause(tls: Path, port: int, method: str, host: str = "localhost") -> Cause:
    authority = (tls / "own" / "ca.crt").read_bytes()
    request = ActivateNodeRequest() if method == "ActivateNode" else PullMessagesRequest()
    with (
        FleetHttpClient.from_server_address(f"{host}:{port}", False, authority, interceptors=[]) as client,
        pytest.raises(Exception) as raised,  # noqa: PT011 - which one it is is the question
    ):
        getattr(client, method)(request)
    return cause_of(raised.value, method)


@pytest.mark.parametrize(
    ("certificate", "expected"),
    [
        ("late", Cause.EXPIRED),
        ("early", Cause.NOT_YET_VALID),
        ("foreign", Cause.OTHER_AUTHORITY),
    ],
)
def test_a_certificate_that_is_not_trusted(tls: Path, certificate: str, expected: Cause) -> None:
    port = free_port()
    with coordinator(tls / certificate, port):
        assert cause(tls, port, "ActivateNode") is expected


def test_a_certificate_for_another_name(tls: Path) -> None:
    port = free_port()
    with coordinator(tls / "good", port, host="127.0.0.2"):
        assert cause(tls, port, "ActivateNode", "127.0.0.2") is Cause.OTHER_NAME


@pytest.mark.parametrize(
    ("status", "method", "expected"),
    [
        (401, "PullMessages", Cause.UNKNOWN),
        (412, "ActivateNode", Cause.NOT_LET_IN),
        (403, "ActivateNode", Cause.NOT_LET_IN),
        (403, "PullMessages", Cause.NOT_LET_IN),
        (404, "PullMessages", Cause.ANSWER),
        (429, "ActivateNode", Cause.TOO_OFTEN),
        (500, "ActivateNode", Cause.SERVER),
        (503, "PullMessages", Cause.SERVER),
        (200, "PullMessages", Cause.ANSWER),
    ],
)
def test_an_answer_that_is_none(tls: Path, status: int, method: str, expected: Cause) -> None:
    port = free_port()
    path = "/v1/fleet/activate-node" if method == "ActivateNode" else "/v1/fleet/pull-messages"
    words = b"error: certificate verify failed: certificate has expired 401 unauthorized"
    with coordinator(tls / "good", port, answers={path: (status, HTML, words)}):
        assert cause(tls, port, method) is expected


def test_a_server_that_is_not_there_or_speaks_no_tls(tls: Path) -> None:
    assert cause(tls, free_port(), "ActivateNode") is Cause.NETWORK
    port = free_port()
    with HTTPServer(("127.0.0.1", port), BaseHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert cause(tls, port, "ActivateNode") is Cause.TLS
        server.shutdown()
