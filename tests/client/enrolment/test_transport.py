"""TLS and the way there: whom a hospital trusts, and what it says when it cannot."""

import json
import threading
from datetime import UTC, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from enrolment_service import federation, free_port, served
from joining import failed, repacked, state, tls_server

from client.enrolment.attempt import Attempt
from client.enrolment.connection import load_connection
from common.protocol.node_keys import new_key, public_line
from server.provision.authority import make_server_certificate, node_certificate, open_authority
from server.provision.provision import Changes, Places, provision
from server.provision.registry import utc_now


def test_another_authority_gets_no_token(client, places, settings, tmp_path):
    """A server that bears the right name, with an authority of the same name, but another key."""
    other = Places(tmp_path / "other")
    provision(settings, other)
    with served(settings, places, certificate=other.server):
        said = client(places.kit("hospital1"))
        failed(said, "not signed by the authority in the kit", "inspects TLS", "The token was not sent")
    assert state(places) == "invited"


def test_an_authority_that_the_machine_trusts_is_not_enough(client, places, settings, tmp_path, monkeypatch):
    other = Places(tmp_path / "other")
    provision(settings, other)
    monkeypatch.setenv("SSL_CERT_FILE", str(other.authority / "ca.crt"))
    with served(settings, places, certificate=other.server):
        failed(client(places.kit("hospital1")), "not signed by the authority in the kit")


def test_an_expired_certificate_names_both_ways_out(client, tmp_path):
    old = Places(tmp_path / "old")
    settings = federation(free_port(), validity={"server": 1, "token": 30})
    provision(settings, old, now=utc_now() - timedelta(days=3))
    with served(settings, old):
        failed(
            client(old.kit("hospital1")), "certificate has expired", "clock says 20", "--renew-server", "set the clock"
        )
        provision(settings, old, Changes(renew_server=True))
    with served(settings, old):
        assert client(old.kit("hospital1")).code == 0


def test_a_certificate_that_is_not_valid_yet_points_at_the_clock(client, places, settings, tmp_path):
    authority = open_authority(places.authority, settings.name, 1, utc_now())
    make_server_certificate(tmp_path / "future", authority, "localhost", 5, utc_now() + timedelta(days=1))
    with served(settings, places, certificate=tmp_path / "future"):
        failed(client(places.kit("hospital1")), "not valid yet", "clock .* is behind", "NTP")


def test_a_kit_from_the_future_points_at_the_clock(client, tmp_path):
    places, settings = Places(tmp_path / "p"), federation(free_port())
    provision(settings, places, now=utc_now() + timedelta(hours=2))
    failed(client(places.kit("hospital1")), "this machine's clock says", "set the clock")


def test_a_certificate_for_another_name_says_so(client, places, settings, tmp_path):
    authority = open_authority(places.authority, settings.name, 1, utc_now())
    make_server_certificate(tmp_path / "named", authority, "fed.example.org", 5, utc_now())

    def elsewhere(files):
        files["kit.json"] = files["kit.json"].replace(b"localhost", b"127.0.0.2")

    kit = repacked(places.kit("hospital1"), tmp_path / "kit.zip", elsewhere, honest=True)
    port = int(settings.address.split(":")[1])
    with tls_server(tmp_path / "named", port, b"", host="127.0.0.2"):
        failed(client(kit), "certificate is for another name", "--renew-server")


def test_no_route_says_what_to_check(client, places, settings):
    failed(client(places.kit("hospital1")), f"{settings.address} cannot be reached", "firewall", "HTTPS_PROXY")
    assert state(places) == "invited"


def test_a_name_that_is_not_known_says_what_to_check(client, tmp_path):
    places = Places(tmp_path / "p")
    provision(federation(443, host="fed.invalid"), places)
    failed(client(places.kit("hospital1")), "fed.invalid:443 cannot be reached", "check the name")


def test_a_server_without_tls_gets_no_token(client, places, settings):
    with served(settings, places, tls=False):
        failed(client(places.kit("hospital1")), "does not speak TLS")
    assert state(places) == "invited"


def test_a_proxy_that_refuses_is_named(client, places, settings, monkeypatch):
    class Refuses(BaseHTTPRequestHandler):
        def do_CONNECT(self):
            self.send_error(403)

        def log_message(self, *_):
            pass

    proxy = HTTPServer(("127.0.0.1", 0), Refuses)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.server_port}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    try:
        with served(settings, places):
            failed(client(places.kit("hospital1")), "HTTPS_PROXY", "CONNECT")
    finally:
        proxy.shutdown()
        proxy.server_close()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\n\r\noops", r"HTTP 502\).*the proxy passes /enrol on"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", r"HTTP 200\)"),
        (b'HTTP/1.1 403 No\r\nContent-Length: 23\r\n\r\n{"error": "\x1b[2Jcleared"}', r"HTTP 403\)"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100_000, r"HTTP 200\)"),
        (b"HTTP/1.1 307 Go\r\nLocation: https://192.0.2.1/\r\nContent-Length: 0\r\n\r\n", r"HTTP 307\)"),
        (b"no http at all\r\n\r\n", "cannot be reached"),
    ],
    ids=["gateway", "empty", "escape", "endless", "elsewhere", "noise"],
)
def test_a_strange_answer_is_not_believed(client, places, settings, tmp_path, answer, message):
    with tls_server(places.server, int(settings.address.split(":")[1]), answer):
        said = client(places.kit("hospital1"))
    failed(said, message)
    assert "\x1b" not in said.err
    assert not (tmp_path / "node" / "connection.yaml").exists()


def test_a_certificate_of_another_key_is_not_kept(client, places, settings, tmp_path):
    authority = open_authority(places.authority, "tumours", 10, utc_now())
    certificate = node_certificate(authority, "hospital1", public_line(new_key()), utc_now()).decode()
    body = json.dumps({"federation": "tumours", "address": settings.address, "certificate": certificate}).encode()
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    with tls_server(places.server, int(settings.address.split(":")[1]), answer):
        failed(client(places.kit("hospital1")), "not of this site's key")
    assert not (tmp_path / "node" / "connection.yaml").exists()


def test_an_answer_of_another_federation_is_not_taken(client, places, settings, tmp_path):
    body = b'{"federation": "others", "address": "localhost:1", "certificate": ""}'
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    with tls_server(places.server, int(settings.address.split(":")[1]), answer):
        failed(client(places.kit("hospital1")), "belongs to the federation others, the kit to tumours")
    assert not (tmp_path / "node" / "connection.yaml").exists()


def test_a_clock_that_is_off_is_told_though_the_site_has_joined(client, places, settings, tmp_path):
    """Flower refuses a node whose clock is more than five minutes off."""
    said = (utc_now() - timedelta(minutes=12)).astimezone(UTC)
    line = Attempt(tmp_path / "node").open_key("hospital1")
    authority = open_authority(places.authority, "tumours", 10, utc_now())
    certificate = node_certificate(authority, "hospital1", line, utc_now()).decode()
    told = {"federation": "tumours", "address": settings.address, "certificate": certificate}
    body = json.dumps(told).encode()
    head = f"HTTP/1.1 200 OK\r\nDate: {said:%a, %d %b %Y %H:%M:%S} GMT\r\nContent-Length: {len(body)}\r\n\r\n"
    with tls_server(places.server, int(settings.address.split(":")[1]), head.encode() + body):
        result = client(places.kit("hospital1"))
    assert result.code == 0
    assert "clock is 12 min ahead of the coordinator's" in result.out
    assert abs(load_connection(tmp_path / "node").enrolled - said) < timedelta(seconds=30)
