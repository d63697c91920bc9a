"""The doctor on the way to the coordinator: a real TLS server on this machine, good and in each way of being bad."""

import json
import re
import socket
import threading
import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import uvicorn
from coordinator import BEHIND_A_PROXY, HTML, JSON, coordinator
from enrolment_service import federation, free_port
from flwr.superlink.main import create_app

from client.doctor.examination import Examination
from client.doctor.network.look import look_at_network
from client.doctor.network.proxy import proxy_for
from client.enrolment.connection import Connection, save_connection
from client.health.service import HealthService
from client.site import SiteSettings
from common.protocol.node_keys import identity_file, new_key, private_file, public_line
from common.system.file_lock import locked
from common.system.private_files import write_private
from server.provision.authority import make_server_certificate, node_certificate, open_authority
from server.provision.provision import Places, provision
from server.provision.registry import utc_now


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    for name in ("HTTPS_PROXY", "ALL_PROXY", "HTTP_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


class Joined:
    """A federation, and the folder of a node that has joined it."""

    def __init__(self, folder, address=None, **validity):
        self.port = free_port()
        self.places = Places(folder / "provision")
        self.settings = federation(self.port, validity=validity)
        provision(self.settings, self.places, now=utc_now() - timedelta(hours=1))
        self.node = folder / "node"
        self.join(self.node, address or self.settings.address)
        self.health_port = free_port()

    def join(self, node, address):
        (node / "keys").mkdir(parents=True)
        (node / "ca.crt").write_bytes((self.places.authority / "ca.crt").read_bytes())
        key = new_key()
        write_private(node / "keys" / "node", private_file(key))
        authority = open_authority(self.places.authority, "tumours", 3650, utc_now())
        certificate = node_certificate(authority, "hospital1", public_line(key), utc_now())
        write_private(node / "keys" / "node.pem", identity_file(key, certificate))
        questions = self.places.registry.read().questions.public
        values = {"federation": "tumours", "site": "hospital1", "address": address, "enrolled": utc_now()}
        save_connection(Connection(**values, questions=questions), node)

    def look(self, name="hospital1"):
        site = SiteSettings(
            name=name,
            reader="brats",
            organ="brain",
            path=self.node / "data",
            folder=self.node,
            cache_dir=self.node,
            health_port=self.health_port,
        )
        network = look_at_network(self.node, site)
        assert network is not None
        return {check.what: check for check in network.checks}

    def certificate(self, folder, host="localhost", *, days=30, now=None):
        authority = open_authority(self.places.authority, "tumours", 1, utc_now())
        make_server_certificate(folder, authority, host, days, now or utc_now())
        return folder


@pytest.fixture
def joined(tmp_path):
    return Joined(tmp_path)


def bad(checks):
    return {what: check.told for what, check in checks.items() if check.state != "good"}


def test_a_good_way_is_good_in_every_part_and_nothing_is_sent(joined):
    with coordinator(joined.places.server, joined.port) as server:
        checks = joined.look()
    assert bad(checks) == {}
    assert list(checks) == [
        "key", "health port", "authority", "proxy", "name", "connection", "TLS", "clock", "node API", "control API",
        "runtime API",
    ]  # fmt: skip
    assert "127.0.0.1" in checks["name"].told
    assert f"{datetime.now(UTC) + timedelta(days=364):%Y-%m}" in checks["TLS"].told
    assert server.bodies == [b""] * 3


def test_another_authority_is_named_and_an_inspecting_proxy_is_the_likely_cause(joined, tmp_path):
    other = Places(tmp_path / "other")
    provision(joined.settings.model_copy(update={"name": "inspection"}), other)
    with coordinator(other.server, joined.port) as server:
        (told,) = bad(joined.look()).values()
    assert "not signed by the authority in the kit" in told
    assert "inspects TLS" in told
    assert 'issued by "CN=inspection certificate authority' in told
    assert server.asked == ["HEAD /"]


def test_an_expired_certificate_names_both_ways_out(joined, tmp_path):
    expired = joined.certificate(tmp_path / "expired", days=0, now=utc_now() - timedelta(minutes=2))
    with coordinator(expired, joined.port):
        (told,) = bad(joined.look()).values()
    assert "certificate has expired" in told
    assert "--renew-server" in told


def test_a_certificate_that_expires_soon_is_a_warning(joined, tmp_path):
    with coordinator(joined.certificate(tmp_path / "soon", days=29), joined.port):
        checks = joined.look()
    assert list(bad(checks)) == ["TLS"]
    assert checks["TLS"].state == "warning"
    assert "--renew-server" in checks["TLS"].told


def test_a_certificate_for_another_name_says_so(tmp_path):
    joined = Joined(tmp_path)
    named = joined.certificate(tmp_path / "named", "fed.example.org")
    (joined.node / "connection.yaml").write_text(
        (joined.node / "connection.yaml").read_text().replace("localhost", "127.0.0.2")
    )
    with coordinator(named, joined.port, host="127.0.0.2"):
        (told,) = bad(joined.look()).values()
    assert "certificate is for another name" in told


def test_a_closed_port_says_what_to_check_and_ends_the_way(joined):
    checks = joined.look()
    assert list(bad(checks)) == ["connection"]
    assert f"localhost:{joined.port}" in checks["connection"].told
    assert "server is running" in checks["connection"].told
    assert list(checks)[-1] == "connection"


def test_a_name_that_nobody_knows_says_what_to_check(tmp_path):
    checks = Joined(tmp_path, "fed.invalid:443").look()
    assert list(bad(checks)) == ["name"]
    assert "fed.invalid is not known here" in checks["name"].told


@pytest.mark.parametrize(
    ("ahead", "state", "words"),
    [
        (timedelta(minutes=10), "problem", "10 min behind the coordinator's"),
        (timedelta(minutes=-10), "problem", "10 min ahead of the coordinator's"),
        (timedelta(seconds=-20), "problem", "s ahead of the coordinator's"),
        (timedelta(seconds=150), "warning", "min behind the coordinator's"),
        (timedelta(seconds=-1), "good", "agrees"),
        (None, "warning", "does not tell the time"),
    ],
)
def test_a_clock_is_held_against_what_flower_tolerates(joined, ahead, state, words):
    with coordinator(joined.places.server, joined.port, ahead=ahead):
        clock = joined.look()["clock"]
    assert clock.state == state
    assert words in clock.told


@pytest.mark.parametrize(
    "answer",
    [
        (200, "application/protobuf", b"\x1a\x20"),
        (404, JSON, b'{"detail":"Not Found"}'),
        (403, JSON, b'{"detail":"no"}'),
        (405, HTML, b""),
        (502, HTML, b"bad gateway"),
    ],
    ids=["answers", "flower's own 404", "flower's own 403", "method", "gateway"],
)
def test_an_open_control_api_is_a_problem_of_the_coordinator(joined, answer):
    with coordinator(joined.places.server, joined.port, answers={**BEHIND_A_PROXY, "/v1/control/list-runs": answer}):
        checks = joined.look()
    assert list(bad(checks)) == ["control API"]
    assert checks["control API"].state == "problem"
    assert "start runs on the hospitals' data" in checks["control API"].told
    assert "Tell the coordinator" in checks["control API"].told


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((502, HTML, b"bad gateway"), "SuperLink behind it does not"),
        ((404, HTML, b"nothing"), "whether /v1/fleet is passed on"),
        ((200, JSON, b""), "lets anyone in"),
    ],
)
def test_a_node_api_that_is_not_what_it_should_be_is_a_problem(joined, answer, words):
    with coordinator(joined.places.server, joined.port, answers={"/v1/fleet/pull-messages": answer}):
        checks = joined.look()
    assert list(bad(checks)) == ["node API"]
    assert words in checks["node API"].told


def test_a_key_that_others_can_read_or_of_another_kind_is_a_problem(joined):
    key = joined.node / "keys" / "node"
    key.chmod(0o640)
    assert "chmod 600" in joined.look()["key"].told
    key.chmod(0o600)
    key.write_text("-----BEGIN PRIVATE KEY-----\n")
    assert "not an OpenSSH private key" in joined.look()["key"].told
    key.unlink()
    assert "cannot be read" in joined.look()["key"].told


@pytest.mark.parametrize(("days", "state"), [(60, "warning"), (400, "good")])
def test_an_authority_that_expires_within_three_months_is_a_warning(tmp_path, days, state):
    assert Joined(tmp_path, authority=days).look()["authority"].state == state


def test_a_taken_health_port_is_told_apart_from_a_node_that_answers(joined):
    with socket.create_server(("127.0.0.1", joined.health_port)):
        taken = joined.look()["health port"]
    assert taken.state == "problem"
    assert "is taken, and not by a node of this site" in taken.told
    service = HealthService({"data": lambda: None}, joined.health_port)
    service.start()
    try:
        assert "not by a node of this site" in joined.look()["health port"].told
        with locked(joined.node / "node.lock"):
            assert "a node runs and answers" in joined.look()["health port"].told
    finally:
        service.stop()


def test_a_damaged_connection_and_another_site_s_are_problems(joined):
    assert "the site that joined is hospital1" in joined.look("hospital9")["site"].told
    questions = re.search("questions: .*\n", (joined.node / "connection.yaml").read_text())[0]
    text = (joined.node / "connection.yaml").read_text()
    (joined.node / "connection.yaml").write_text(text.replace(questions, ""))
    assert "--renew hospital1" in joined.look()["questions"].told
    (joined.node / "connection.yaml").write_text("federation: [")
    assert "back from a backup" in joined.look()["connection"].told


@contextmanager
def proxy(port, refuse=b""):
    """A proxy that opens a way to this machine by CONNECT, whatever name it is asked for."""
    asked = []

    def forward(source, target):
        with suppress(OSError):
            while part := source.recv(65536):
                target.sendall(part)
            target.shutdown(socket.SHUT_WR)

    def talk(incoming):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            if not (part := incoming.recv(65536)):
                return  # whether the port is open was all that was asked
            head += part
        asked.append(head.decode())
        incoming.sendall(refuse or b"HTTP/1.1 200 OK\r\n\r\n")
        if refuse:
            incoming.close()
            return
        onward = socket.create_connection(("127.0.0.1", port))
        threading.Thread(target=forward, args=(onward, incoming), daemon=True).start()
        forward(incoming, onward)

    def serve():
        with suppress(OSError):
            while True:
                threading.Thread(target=talk, args=(listening.accept()[0],), daemon=True).start()

    listening = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listening.getsockname()[1], asked
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()


def test_a_proxy_opens_the_way_to_a_name_that_this_machine_does_not_know(tmp_path, monkeypatch):
    joined = Joined(tmp_path, "fed.invalid:443")
    certificate = joined.certificate(tmp_path / "named", "fed.invalid")
    with coordinator(certificate, joined.port), proxy(joined.port) as (port, asked):
        monkeypatch.setenv("HTTPS_PROXY", f"http://doctor:secret@127.0.0.1:{port}")
        checks = joined.look()
    assert "secret" not in json.dumps([check.model_dump() for check in checks.values()])
    assert set(bad(checks)) == {"TLS"}  # it is valid for 30 days only
    assert checks["TLS"].state == "warning"
    assert f"http://127.0.0.1:{port}" in checks["proxy"].told
    assert asked[0].startswith("CONNECT fed.invalid:443 ")


def test_a_proxy_that_refuses_is_named(tmp_path, monkeypatch):
    joined = Joined(tmp_path, "fed.invalid:443")
    with proxy(joined.port, b"HTTP/1.1 403 Forbidden\r\n\r\n") as (port, _):
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        (told,) = bad(joined.look()).values()
    assert "allow CONNECT to fed.invalid:443" in told


def test_a_kind_of_proxy_that_a_node_cannot_use_is_a_problem(joined, monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1080")
    assert "http:// and https:// proxies only" in bad(joined.look())["proxy"]


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("host", ["fed.example.org", "example.org", "localhost", "10.1.2.3", "::1"])
@pytest.mark.parametrize(
    "excepted",
    [
        "", "*", "example.org", ".example.org", "fed.example.org", "FED.example.org", "ample.org", "localhost",
        "10.1.2.3", "10.0.0.0/8", "::1", "fed.example.org:8443", "fed.example.org:443", "https://fed.example.org",
        "http://fed.example.org", "other.org, example.org",
    ],
)  # fmt: skip
def test_the_proxy_is_the_one_that_the_http_library_takes(monkeypatch, scheme, host, excepted):
    monkeypatch.setenv(f"{scheme.upper()}_PROXY", "proxy.example.net:3128")
    monkeypatch.setenv("NO_PROXY", excepted)
    shown = f"[{host}]" if ":" in host else host
    with httpx.Client() as client:
        taken = client._transport_for_url(httpx.URL(f"{scheme}://{shown}:8443/"))
        direct = taken is client._transport
    assert (proxy_for(host, 8443, scheme) is None) == direct


def test_the_command_tells_it_in_all_three_forms(hospital, client, measure, tmp_path):
    joined = Joined(tmp_path / "federation")
    assert "network: not joined yet: oncofed-client init KIT.zip" in client("doctor", hospital.site).out
    assert "Not joined yet: oncofed-client init KIT.zip" in (hospital.folder / "doctor/index.html").read_text()
    joined.join(hospital.folder, joined.settings.address)
    hospital.settings(health_port=str(joined.health_port))
    with coordinator(joined.places.server, joined.port):
        fit = client("doctor", hospital.site)
    assert fit.code == 0, fit.err
    assert f"network: tumours at {joined.settings.address}" in fit.out
    unfit = client("doctor", hospital.site)
    assert unfit.code == 3
    assert f"problem: network: localhost:{joined.port}: the coordinator refuses connections" in unfit.out
    found = Examination.model_validate_json((hospital.folder / "doctor" / "doctor.json").read_bytes())
    assert found.network is not None
    assert found.network.checks[-1].what == "connection"
    assert not found.fit
    file = hospital.folder / "doctor" / "index.html"
    page = file.read_text()
    assert "the coordinator refuses connections" in page
    assert measure(file, 400).wide == []
    assert '<th scope="row">key</th><td class="word">good</td>' in page


@contextmanager
def superlink(certificate, port):
    """Flower's own server with nothing in front of it."""
    config = uvicorn.Config(
        create_app(),
        port=port,
        log_config=None,
        ssl_certfile=certificate / "server.crt",
        ssl_keyfile=certificate / "server.key",
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    end = time.monotonic() + 30
    while not server.started and time.monotonic() < end:
        time.sleep(0.02)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(30)


def test_a_superlink_that_stands_in_the_open_is_found_out(joined, tmp_path, monkeypatch):
    monkeypatch.setenv("FLWR_HOME", str(tmp_path))
    with superlink(joined.places.server, joined.port):
        checks = joined.look()
    assert {what: check.state for what, check in checks.items() if check.state != "good"} == {
        "control API": "problem",
        "runtime API": "problem",
    }
