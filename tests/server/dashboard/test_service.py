"""The live page over HTTP: what it answers, and what it refuses."""

import base64
import hashlib
import http.client
import json
import re
import socket
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from live_study import LiveStudy

from common.errors import ConfigError
from server.dashboard import service
from server.dashboard.command import dashboard_command


@pytest.fixture
def study(tmp_path: Path) -> LiveStudy:
    made = LiveStudy(tmp_path / "run")
    made.begin()
    made.round()
    return made


serving = partial(service.serving, every=0.05)


@pytest.fixture
def address(study: LiveStudy) -> Iterator[str]:
    with serving(study.folder) as served:
        yield served


def ask(
    address: str, path: str | None = None, method: str = "GET", **headers: str
) -> tuple[http.client.HTTPResponse, str]:
    """The answer and what it says; ``path`` is another one than the page's."""
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 0, timeout=10)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, parts.path if path is None else path, headers=named)
    answer = connection.getresponse()
    return answer, answer.read().decode()


class Events:
    """Server-sent events as they come."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 0, timeout=10)
        self._connection.request("GET", f"{parts.path}events")
        self.answer = self._connection.getresponse()

    def next(self) -> dict[str, str]:
        """The fields of the next event; comments are passed over."""
        fields: dict[str, str] = {}
        while True:
            line = self.answer.readline().decode().rstrip("\n")
            if line.startswith(":"):
                continue
            if not line and "data" in fields:
                return fields
            name, _, value = line.partition(":")
            fields[name] = value.strip()

    def parts(self) -> dict[str, str]:
        """The sections of the next event, by anchor."""
        return {one["anchor"]: one["html"] for one in json.loads(self.next()["data"])}


def test_the_page_runs_one_script_by_its_hash_and_may_reach_its_own_address_alone(address: str) -> None:
    answer, page = ask(address)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Content-Security-Policy"] == "frame-ancestors 'none'"
    assert "Python" not in str(answer.headers)
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="(.*?)"', page)
    assert policy.startswith("default-src 'none'; ")
    assert f"script-src 'sha256-{digest}'" in policy
    assert "connect-src 'self'" in policy
    assert not re.search(r'(src|href)="(https?:)?//', page)
    assert "1 of 4 rounds" in page


def test_each_round_arrives_and_the_end_is_said(study: LiveStudy) -> None:
    with serving(study.folder) as address:
        events = Events(address)
        assert events.answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert "1 of 4 rounds" in events.parts()["training-gan-cgan"]
        for number in (2, 3):
            study.round()
            # Progress and record are two files, and a look may fall between them.
            while f"{number} of 4 rounds" not in (parts := events.parts()).get("training-gan-cgan", ""):
                pass
            while f"{number} of 4 rounds done" not in parts["now"]:
                parts = events.parts()
        study.finish()
    told = []
    while (event := events.next()).get("event") != "end":
        told.append(event["data"])
    assert "<b>Finished</b>" in told[-1]
    assert events.answer.readline() == b""


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": "127.0.0.1"}, 421),
        ({"Host": "localhost.evil.example:{port}"}, 421),
        ({"path": "/"}, 404),
        ({"path": "/events"}, 404),
        ({"path": "/{secret}"}, 404),
        ({"path": "/{secret}/../../config.yaml"}, 404),
        ({"path": "/{secret}/..%2f..%2fetc/passwd"}, 404),
        ({"path": "/{secret}/progress.jsonl"}, 404),
        ({"path": "/{secret}/events?x"}, 404),
        ({"path": "//{secret}/events/"}, 404),
        ({"path": "http://evil.example/{secret}/"}, 421),
        ({"path": "http://evil.example/{secret}/", "Host": "127.0.0.1:{port}"}, 404),
        ({"path": "/" + "a" * 70_000}, 414),
        ({"method": "POST"}, 405),
        ({"method": "HEAD"}, 405),
        ({"method": "OPTIONS"}, 405),
        ({"method": "DELETE"}, 405),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "same-site"}, 403),
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Dest": "iframe"}, 403),
        ({"Many": "a" * 70_000}, 431),
    ],
    ids=str,
)
def test_what_is_no_request_of_the_page_is_refused_and_not_repeated(
    asked: dict[str, str], status: int, address: str
) -> None:
    parts = urlsplit(address)
    filled = {k: v.format(port=parts.port, secret=parts.path.strip("/")) for k, v in asked.items()}
    answer, said = ask(address, **filled)
    assert answer.status == status
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Access-Control-Allow-Origin"] is None
    assert said in ("", f"{answer.reason}\n")
    assert ask(address)[0].status == 200


def test_localhost_and_requests_of_the_page_itself_are_answered(address: str) -> None:
    port = urlsplit(address).port
    assert ask(address, Host=f"localhost:{port}")[0].status == 200
    assert ask(address, Sec_Fetch_Site="same-origin")[0].status == 200
    assert ask(address, Sec_Fetch_Site="cross-site", Sec_Fetch_Dest="document")[0].status == 200


@pytest.mark.parametrize(
    "sent", [b"\x16\x03\x01\x00garbage\r\n\r\n", b"GET /\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\r\n"]
)
def test_what_is_no_http_ends_its_connection_alone(
    sent: bytes, address: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.create_connection(("127.0.0.1", urlsplit(address).port), timeout=10) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        said = connection.recv(100_000)
    assert b"garbage" not in said
    assert b"Now" not in said
    assert ask(address)[0].status == 200
    assert capfd.readouterr() == ("", "")


def test_only_this_machine_reaches_it_and_each_address_has_a_secret_of_its_own(study: LiveStudy, address: str) -> None:
    parts = urlsplit(address)
    assert parts.hostname == "127.0.0.1"
    assert len(parts.path.strip("/")) >= 22
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", parts.port), timeout=5)
    with serving(study.folder) as other:
        assert urlsplit(other).path != parts.path


def test_connections_are_bounded_and_those_that_end_make_room(address: str) -> None:
    port = urlsplit(address).port
    held = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(service.MOST_CONNECTIONS)]
    time.sleep(0.3)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as one_more:
        assert one_more.recv(1) == b""
    for one in held:
        one.close()
    end = time.monotonic() + 5
    while True:
        try:
            assert ask(address)[0].status == 200
            break
        except OSError:
            assert time.monotonic() < end
            time.sleep(0.05)


def test_a_port_that_cannot_be_had_is_refused_by_its_option(address: str, study: LiveStudy) -> None:
    port = urlsplit(address).port or 0
    with (
        pytest.raises(ConfigError, match=rf"--port {port}: cannot be had .*leave --port out"),
        serving(study.folder, port),
    ):
        pass
    with pytest.raises(ConfigError, match="--port 70000: a port is a number"), serving(study.folder, 70_000):
        pass


def test_a_file_is_no_run(study: LiveStudy) -> None:
    with pytest.raises(ConfigError, match="is no folder; give that of a run"):
        dashboard_command(study.folder / "progress.jsonl", 0)
