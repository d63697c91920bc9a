"""The page over HTTP, for browsers of this machine: two addresses behind a secret, for which no file is opened.

A port of 127.0.0.1 is within reach of every user of the machine and of every page in a browser on it. So the address
holds a secret that only who started the dashboard has seen, the request must name this machine as its host (a name of
somebody else's may lead here too), and another page may link to this one, but neither embed nor fetch it.
"""

import logging
import secrets
import socketserver
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from common.errors import ConfigError
from common.report.page import render_page
from server.dashboard.feed import EVERY, Feed
from server.dashboard.study import StudyView

log = logging.getLogger("oncofed.dashboard")

HOST = "127.0.0.1"
MOST_CONNECTIONS = 32
PATIENCE = 10.0
"""Seconds for a browser to send something, or to take what is sent."""
SILENCE = 15.0
"""Seconds after which a comment is sent, so that a browser that has gone is noticed."""
FAREWELL = 2.0
"""Seconds that browsers have in the end to take the last state."""


class _Server(socketserver.ThreadingTCPServer):
    """Answers each connection in a thread, and no more than :data:`MOST_CONNECTIONS` at a time."""

    allow_reuse_address = True
    request_queue_size = MOST_CONNECTIONS
    daemon_threads = True
    block_on_close = False

    def __init__(self, port: int, feed: Feed) -> None:
        self.feed = feed
        self.secret = secrets.token_urlsafe(16)
        self.listeners = 0
        self.counting = threading.Lock()
        self._free = threading.BoundedSemaphore(MOST_CONNECTIONS)
        super().__init__((HOST, port), _Handler)
        self.port: int = self.server_address[1]
        self.hosts = {f"{host}:{self.port}" for host in (HOST, "localhost")}

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that has gone is no news; anything else is."""
        if not isinstance(sys.exception(), OSError):
            log.exception("a request cannot be answered")


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = PATIENCE
    server_version, sys_version = "oncofed", ""

    def parse_request(self) -> bool:
        if not super().parse_request():
            return False
        refused = self._refused()
        if refused is not None:
            self._answer(refused)
        return refused is None

    def _refused(self) -> HTTPStatus | None:
        if self.command != "GET":
            return HTTPStatus.METHOD_NOT_ALLOWED
        hosts = self.headers.get_all("Host", [])
        if len(hosts) != 1 or hosts[0].lower() not in self.server.hosts:
            return HTTPStatus.MISDIRECTED_REQUEST
        followed = self.headers.get("Sec-Fetch-Dest") == "document"
        if self.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin") and not followed:
            return HTTPStatus.FORBIDDEN
        known = [f"/{self.server.secret}/{name}" for name in ("", "events")]
        if not any(secrets.compare_digest(self.path.encode(), one.encode()) for one in known):
            return HTTPStatus.NOT_FOUND
        return None

    def do_GET(self) -> None:
        if self.path.endswith("/events"):
            self._listen()
        else:
            page = _page(self.server.feed)
            self._answer(HTTPStatus.OK, page.encode(), "text/html")

    def _listen(self) -> None:
        self._head(HTTPStatus.OK, "text/event-stream")
        with self.server.counting:
            self.server.listeners += 1
        try:
            self._tell()
        finally:
            with self.server.counting:
                self.server.listeners -= 1

    def _tell(self) -> None:
        """Server-sent events: all sections at first and at each change, then ``end``."""
        feed, number = self.server.feed, 0
        self._send("retry: 2000\n\n")
        while True:
            ended = feed.ended
            snapshot = feed.after(number, SILENCE)
            if snapshot is not None:
                number = snapshot.number
                self._send(f"data: {snapshot.to_json()}\n\n")
            elif ended:
                self._send("event: end\ndata:\n\n")
                return
            else:
                self._send(":\n\n")

    def _send(self, text: str) -> None:
        self.wfile.write(text.encode())

    def _answer(self, status: HTTPStatus, content: bytes = b"", kind: str = "text/plain") -> None:
        content = content or f"{status.phrase}\n".encode()
        self._head(status, kind, length=len(content))
        self.wfile.write(content)

    def _head(self, status: HTTPStatus, kind: str, length: int | None = None) -> None:
        self.close_connection = True
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("X-Content-Type-Options", "nosniff")
        # The page says itself what it may do; this is what a page cannot say.
        self.send_header("Content-Security-Policy", "frame-ancestors 'none'")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cache-Control", "no-store")
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET")
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """The same few words whatever was asked; nothing of it is repeated."""
        self._answer(HTTPStatus(code))

    def log_message(self, format: str, *args: Any) -> None:
        """The terminal is the study's."""


def _page(feed: Feed) -> str:
    newest = feed.newest()
    given = {"name": newest.name, "shown": newest.parts}
    return render_page("server", "dashboard/page.html", [], script="dashboard/live.js", listens=True, **given)


@contextmanager
def serving(run: Path, port: int = 0, *, every: float = EVERY) -> Iterator[str]:
    """Serves the page of a run within the block; yields its address.

    Args:
        run: the run's folder, which may not be there yet.
        port: of 127.0.0.1; 0 takes a free one.
        every: seconds between two looks at the run.

    Raises:
        ConfigError: if the port cannot be had.
    """
    if not 0 <= port <= 65_535:
        raise ConfigError(f"--port {port}: a port is a number from 1 to 65535; leave --port out for a free one")
    feed = Feed(StudyView(run), every)
    try:
        server = _Server(port, feed)
    except OSError as error:
        raise ConfigError(
            f"--port {port}: cannot be had on this machine ({error.strerror}); choose another, or leave --port out for "
            "a free one"
        ) from error
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        with feed:
            thread.start()
            try:
                yield f"http://{HOST}:{server.port}/{server.secret}/"
            finally:
                server.shutdown()
        end = time.monotonic() + FAREWELL
        while server.listeners and time.monotonic() < end:
            time.sleep(0.02)
