"""What the proxy passes on, asked of a real nginx before two plain servers."""

import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import httpx
import pytest
from running_federation import free_port, need_nginx

from common.errors import ConfigError
from common.protocol.node_keys import identity_file, new_key, public_line
from server.operation.proxy import FLEET, ProxyPlan, find_nginx, listeners, nginx_configuration, write_configuration
from server.provision.authority import make_server_certificate, node_certificate, open_authority
from server.provision.registry import utc_now


class Seen(BaseHTTPRequestHandler):
    """Answers everything, and keeps what it was asked."""

    seen: ClassVar[list[tuple[str, str, str | None, str | None]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        told = (self.headers.get("x-forwarded-for"), self.headers.get("x-oncofed-site"))
        self.seen.append((self.command, self.path, *told))
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST  # noqa: N815 - likewise

    def log_message(self, *arguments: object) -> None: ...


@contextmanager
def listening(port: int, tls: tuple[Path, Path] | None = None) -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", port), Seen)
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


@dataclass(frozen=True)
class Proxied:
    """An nginx that runs, and whom it may know."""

    address: str
    root: Path

    def client(self, identity: str | None = "node.pem") -> httpx.Client:
        trust = ssl.create_default_context(cafile=str(self.root / "authority" / "ca.crt"))
        if identity is not None:
            trust.load_cert_chain(self.root / identity)
        transport = httpx.HTTPTransport(verify=trust, retries=20)
        return httpx.Client(transport=transport, base_url=self.address, trust_env=False)


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    need_nginx()
    root = tmp_path_factory.mktemp("proxy")
    authority = open_authority(root / "authority", "tumours", 10, utc_now())
    for name in ("public", "loopback"):
        make_server_certificate(root / name, authority, "localhost", 10, utc_now())
    public, superlink, enrolment = free_port(), free_port(), free_port()
    key = new_key()
    line = public_line(key)
    plan = ProxyPlan(
        listen=(f"127.0.0.1:{public}",),
        certificate=root / "public" / "server.crt",
        key=root / "public" / "server.key",
        superlink=superlink,
        superlink_authority=root / "authority" / "ca.crt",
        enrolment=enrolment,
        folder=root / "proxy",
        keys={"hospital1": line},
    )
    (root / "node.pem").write_bytes(identity_file(key, node_certificate(authority, "hospital1", line, utc_now())))
    other = new_key()
    unknown = node_certificate(authority, "hospital1", public_line(other), utc_now())
    (root / "unknown.pem").write_bytes(identity_file(other, unknown))
    file = write_configuration(plan)
    assert (root / "proxy").stat().st_mode & 0o777 == 0o700
    own = (root / "loopback" / "server.crt", root / "loopback" / "server.key")
    with listening(superlink, own), listening(enrolment):
        nginx = subprocess.Popen([find_nginx(), "-c", file, "-p", root / "proxy"], stderr=subprocess.DEVNULL)
        try:
            yield Proxied(f"https://localhost:{public}", root)
        finally:
            nginx.terminate()
            nginx.wait(20)


@pytest.mark.parametrize("name", FLEET)
def test_what_a_node_needs_is_passed_on_with_its_site(proxied: Proxied, name: str) -> None:
    Seen.seen.clear()
    forged = {"x-oncofed-site": "hospital2"}
    with proxied.client() as client:
        assert client.post(f"/v1/fleet/{name}", content=b"x" * 1000, headers=forged).content == b"x" * 1000
    assert Seen.seen == [("POST", f"/v1/fleet/{name}", "127.0.0.1", "hospital1")]


@pytest.mark.parametrize("identity", [None, "unknown.pem"])
@pytest.mark.parametrize("name", ["activate-node", "push-object"])
def test_a_key_that_is_not_on_the_list_reaches_nothing(proxied: Proxied, name: str, identity: str | None) -> None:
    Seen.seen.clear()
    with proxied.client(identity) as client:
        answer = client.post(f"/v1/fleet/{name}", content=b"x", headers={"x-oncofed-site": "hospital1"})
    assert answer.status_code == 401
    assert Seen.seen == []


def test_a_certificate_of_another_authority_reaches_nothing(proxied: Proxied, tmp_path: Path) -> None:
    key = new_key()
    other = open_authority(tmp_path / "authority", "tumours", 10, utc_now())
    forged = node_certificate(other, "hospital1", public_line(key), utc_now())
    (proxied.root / "forged.pem").write_bytes(identity_file(key, forged))
    Seen.seen.clear()
    with proxied.client("forged.pem") as client:
        assert client.post("/v1/fleet/push-object", content=b"x").status_code == 400
    assert Seen.seen == []


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/health",
        "/docs",
        "/openapi.json",
        "/oncofed/nodes",
        "/oncofed/stop/1",
        "/unknown",
        "/v1/control/start-run",
        "/v1/runtime/get-nodes",
        "/v1/fleet/",
        "/v1/fleet/register-node",
        "/v1/fleet/unregister-node",
        "/v1/fleet/get-run/../../control/start-run",
        "/v1/fleet/get-run%2f..%2f..%2fcontrol%2fstart-run",
        "/v1/fleet/%2e%2e/control/start-run",
        "/v1/fleet/get-run/%2e%2e/%2e%2e/control/start-run",
        "//v1/control/start-run",
        "/V1/FLEET/get-run",
        "/enrol/",
        "/enrol/../v1/control/start-run",
    ],
)
@pytest.mark.parametrize("identity", [None, "node.pem"])
def test_everything_else_is_not(proxied: Proxied, path: str, identity: str | None) -> None:
    Seen.seen.clear()
    with proxied.client(identity) as client:
        request = client.build_request("POST", "/", content=b"x")
        request.url = request.url.copy_with(raw_path=path.encode())
        # Whoever tries this many doors is put off for a while.
        assert client.send(request).status_code in (404, 503)
    assert Seen.seen == []


def test_enrolment_is_posted_is_small_and_names_its_caller(proxied: Proxied) -> None:
    time.sleep(1.0)
    Seen.seen.clear()
    with proxied.client(None) as client:
        assert client.post("/enrol", content=b"{}", headers={"x-forwarded-for": "203.0.113.9"}).status_code == 200
        assert Seen.seen == [("POST", "/enrol", "127.0.0.1", None)]
        assert client.get("/enrol").status_code == 403
        assert client.post("/enrol", content=b"x" * 9000).status_code == 413
    assert len(Seen.seen) == 1


def test_a_part_of_a_model_passes_and_more_than_that_does_not(proxied: Proxied) -> None:
    part = b"\x07" * 5_500_000
    with proxied.client() as client:
        assert client.post("/v1/fleet/push-object", content=part).content == part
        assert client.post("/v1/fleet/push-object", content=part * 2).status_code == 413
        assert client.post("/v1/fleet/pull-messages", content=b"x" * 20_000).status_code == 413


def test_a_path_that_nginx_cannot_be_given_is_refused(tmp_path: Path) -> None:
    odd = tmp_path / 'a"b'
    plan = ProxyPlan(("443",), odd / "server.crt", odd / "server.key", 1, odd / "ca.crt", 2, odd, {})
    with pytest.raises(ConfigError, match="choose another folder"):
        nginx_configuration(plan)


def test_what_nginx_does_not_accept_is_told_before_anything_runs(tmp_path: Path) -> None:
    need_nginx()
    plan = ProxyPlan(
        ("443",), tmp_path / "no.crt", tmp_path / "no.key", 1, tmp_path / "ca.crt", 2, tmp_path / "proxy", {}
    )
    with pytest.raises(ConfigError, match=r"nginx does not accept it.*no\.crt"):
        write_configuration(plan)


def test_where_it_listens() -> None:
    assert listeners("127.0.0.1:8443", "fed.example.org:443") == ("127.0.0.1:8443",)
    assert "127.0.0.1:8443" in listeners(None, "localhost:8443")
    with pytest.raises(ConfigError, match=r"192\.0\.2\.7, which is none of this machine's own .* serve\.listen"):
        listeners(None, "192.0.2.7:443")
