"""A study goes on to its end while strangers and a registered site do what they can to this coordinator's machine."""

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from running_federation import STUDY, RunningFederation

from client.enrolment.connection import trusting_context

pytestmark = [pytest.mark.slow]

CONNECTIONS = 1200
"""At once, of each kind; more than nginx had for everybody."""


def hospitals(federation: RunningFederation) -> list[str]:
    return [site for site in federation.sites if site != "mallory"]


@contextlib.contextmanager
def siege(number: int, make: Callable[[], socket.socket]) -> Iterator[list[int]]:
    """Keeps up to ``number`` connections open, and opens new ones for those that are closed; counts what it opened."""
    stop, count = threading.Event(), [0]

    def work() -> None:
        opened: list[socket.socket] = []
        while not stop.is_set():
            with contextlib.suppress(OSError):
                opened.append(make())
                count[0] += 1
            # Some hundred a second in all: no more of the machine than a stranger would have.
            stop.wait(0.05)
            if len(opened) >= number // 6:
                opened.pop(0).close()
        for one in opened:
            one.close()

    threads = [threading.Thread(target=work, daemon=True) for _ in range(6)]
    for thread in threads:
        thread.start()
    try:
        yield count
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)


def slow(port: int, context: ssl.SSLContext, path: str, sent: bytes) -> socket.socket:
    raw = socket.create_connection(("localhost", port), timeout=10)
    connection = context.wrap_socket(raw, server_hostname="localhost")
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(sent) + 1000}\r\n\r\n"
    connection.sendall(head.encode() + sent)
    return connection


def largest_superlink(federation: RunningFederation) -> int:
    return max(process.memory_info().rss for process in federation.below("server", "guarded_superlink"))


@pytest.mark.parametrize("who", ["strangers", "a registered site"])
def test_the_study_ends_with_all_its_hospitals(besieged: RunningFederation, who: str) -> None:
    port = besieged.ports["public"]
    authority = besieged.root / "provision" / "authority" / "ca.crt"
    if who == "strangers":
        context, body = ssl.create_default_context(cafile=str(authority)), b"x"
    else:
        context = trusting_context(authority, Path(besieged.root / "mallory" / "keys" / "node.pem"))
        body = b"x" * 5_000_000
    before = largest_superlink(besieged)
    sites = [argument for site in hospitals(besieged) for argument in ("--sites", site)]
    reference = f"reference.brain.path={besieged.reference()}"
    with siege(CONNECTIONS, lambda: slow(port, context, "/v1/fleet/push-object", body)) as opened:
        besieged.start("run", "server", "run", besieged.file, *sites, *STUDY, reference, "name=besieged")
        besieged.wait_for("run", "round 2 of 2", 400)
        assert opened[0] > 100
        assert largest_superlink(besieged) - before < 400_000_000
    besieged.wait_for("run", "report: ", 400)
    rounds = sorted((besieged.root / "runs" / "besieged" / "checkpoints" / "gan" / "cgan").glob("round-*.json"))
    for file in rounds:
        assert json.loads(file.read_text())["contributors"] == hospitals(besieged)
    assert all(site["connected"] for name, site in _sites(besieged).items() if name != "mallory")


def _sites(federation: RunningFederation) -> dict[str, dict[str, bool]]:
    status = json.loads(federation.command("server", "status", federation.file, "--json"))
    return dict(status["sites"])
