"""A coordinator's server as a node sees it: TLS, and answers to whatever is asked."""

import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

Answer = tuple[int, str, bytes]
JSON, HTML = "application/json", "text/html"
HANGS = (0, HTML, b"")
"""An answer that never comes."""
BEHIND_A_PROXY = {"/v1/fleet/pull-messages": (401, JSON, b'{"detail":"Invalid SuperNode authentication"}')}
"""What is answered where only the nodes' part is passed on; everything else is the proxy's own 404."""


@dataclass
class Coordinator:
    """What was asked of it.

    Attributes:
        asked: method and path of each request.
        bodies: what came with them.
    """

    asked: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)


@contextmanager
def coordinator(
    certificate: Path,
    port: int,
    *,
    answers: Mapping[str, Answer | Callable[[bytes], Answer]] = BEHIND_A_PROXY,
    ahead: timedelta | None = timedelta(0),
    host: str = "127.0.0.1",
) -> Iterator[Coordinator]:
    """Serves ``answers`` by path.

    Args:
        certificate: folder with ``server.crt`` and ``server.key``.
        answers: status, type and body by path, or what makes them of a question's body; they may be changed while it
            runs.
        ahead: of this machine's clock; None tells no time.
    """
    known = Coordinator()
    ending = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            known.asked.append(f"{self.command} {self.path}")
            known.bodies.append(self.rfile.read(int(self.headers.get("content-length") or 0)))
            given = answers.get(self.path, (404, HTML, b"<h1>404 Not Found</h1>"))
            status, kind, body = given(known.bodies[-1]) if callable(given) else given
            if not status:
                ending.wait()
                return
            self.send_response_only(status)
            if ahead is not None:
                self.send_header("Date", format_datetime(datetime.now(UTC) + ahead, usegmt=True))
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_POST = do_HEAD = _answer  # noqa: N815 - the library's names

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "server.crt", certificate / "server.key")
    server = Server((host, port), Handler)
    # Handshakes belong to the thread of their own connection, so that one that fails holds nobody up.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield known
    finally:
        ending.set()
        server.shutdown()
        server.server_close()
