"""What the proxy passes on, asked of a real nginx before two plain servers."""

import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import httpx
import pytest
from running_federation import free_port, no_nginx

from common.errors import ConfigError
from server.operation.proxy import FLEET, ProxyPlan, find_nginx, listeners, nginx_configuration, write_configuration
from server.provision.authority import make_server_certificate, open_authority
from server.provision.registry import utc_now


class Seen(BaseHTTPRequestHandler):
    """Answers everything, and keeps what it was asked."""

    seen: ClassVar[list[tuple[str, str, str | None]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.seen.append((self.command, self.path, self.headers.get("x-forwarded-for")))
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


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    if no_nginx:
        pytest.skip("nginx is not installed")
    root = tmp_path_factory.mktemp("proxy")
    authority = open_authority(root / "authority", "tumours", 10, utc_now())
    for name in ("public", "loopback"):
        make_server_certificate(root / name, authority, "localhost", 10, utc_now())
    public, superlink, enrolment = free_port(), free_port(), free_port()
    plan = ProxyPlan(
        listen=(f"127.0.0.1:{public}",),
        certificate=root / "public" / "server.crt",
        key=root / "public" / "server.key",
        superlink=superlink,
        superlink_authority=root / "authority" / "ca.crt",
        enrolment=enrolment,
        folder=root / "proxy",
    )
    file = write_configuration(plan)
    assert (root / "proxy").stat().st_mode & 0o777 == 0o700
    own = (root / "loopback" / "server.crt", root / "loopback" / "server.key")
    trust = ssl.create_default_context(cafile=str(root / "authority" / "ca.crt"))
    with listening(superlink, own), listening(enrolment):
        nginx = subprocess.Popen([find_nginx(), "-c", file, "-p", root / "proxy"], stderr=subprocess.DEVNULL)
        transport = httpx.HTTPTransport(verify=trust, retries=20)
        try:
            with httpx.Client(transport=transport, base_url=f"https://localhost:{public}", trust_env=False) as client:
                yield client
        finally:
            nginx.terminate()
            nginx.wait(20)


@pytest.mark.parametrize("name", FLEET)
def test_what_a_node_needs_is_passed_on(proxied: httpx.Client, name: str) -> None:
    Seen.seen.clear()
    assert proxied.post(f"/v1/fleet/{name}", content=b"x" * 1000).content == b"x" * 1000
    assert Seen.seen == [("POST", f"/v1/fleet/{name}", "127.0.0.1")]


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/health",
        "/docs",
        "/openapi.json",
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
def test_everything_else_is_not(proxied: httpx.Client, path: str) -> None:
    Seen.seen.clear()
    request = proxied.build_request("POST", "/", content=b"x")
    request.url = request.url.copy_with(raw_path=path.encode())
    assert proxied.send(request).status_code == 404
    assert Seen.seen == []


def test_enrolment_is_posted_is_small_and_names_its_caller(proxied: httpx.Client) -> None:
    Seen.seen.clear()
    assert proxied.post("/enrol", content=b"{}", headers={"x-forwarded-for": "203.0.113.9"}).status_code == 200
    assert Seen.seen == [("POST", "/enrol", "127.0.0.1")]
    assert proxied.get("/enrol").status_code == 403
    assert proxied.post("/enrol", content=b"x" * 9000).status_code == 413
    assert len(Seen.seen) == 1


def test_a_part_of_a_model_passes_and_more_than_that_does_not(proxied: httpx.Client) -> None:
    part = b"\x07" * 5_500_000
    assert proxied.post("/v1/fleet/push-object", content=part).content == part
    assert proxied.post("/v1/fleet/push-object", content=part * 4).status_code == 413


def test_a_path_that_nginx_cannot_be_given_is_refused(tmp_path: Path) -> None:
    odd = tmp_path / 'a"b'
    plan = ProxyPlan(("443",), odd / "server.crt", odd / "server.key", 1, odd / "ca.crt", 2, odd)
    with pytest.raises(ConfigError, match="choose another folder"):
        nginx_configuration(plan)


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
def test_what_nginx_does_not_accept_is_told_before_anything_runs(tmp_path: Path) -> None:
    plan = ProxyPlan(("443",), tmp_path / "no.crt", tmp_path / "no.key", 1, tmp_path / "ca.crt", 2, tmp_path / "proxy")
    with pytest.raises(ConfigError, match=r"nginx does not accept it.*no\.crt"):
        write_configuration(plan)


def test_where_it_listens() -> None:
    assert listeners("127.0.0.1:8443", "fed.example.org:443") == ("127.0.0.1:8443",)
    assert listeners(None, "fed.example.org:443")[0] == "443"
