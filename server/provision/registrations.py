"""Tells Flower's SuperLink which keys to let in. It runs in memory, so it is told again at every start."""

import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from common.errors import StudyError
from common.outside import quoted, uncoloured
from server.provision.registry import Registry, RegistryFile

ALREADY = "already in use"
"""In what Flower says of a key that it has."""


@dataclass(frozen=True)
class Registration:
    """A key that may connect.

    Attributes:
        site: whose it is.
        public_key: one line as of :func:`common.node_keys.public_line`.
    """

    site: str
    public_key: str


@dataclass(frozen=True)
class Finished:
    """What a command left.

    Attributes:
        code: its exit code.
        output: standard output and standard error together.
    """

    code: int
    output: str


Runner = Callable[[Sequence[str]], Finished]
"""Runs ``flwr`` with these arguments."""


def run_flwr(arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> Finished:
    """Runs the ``flwr`` of this installation; two minutes at most."""
    command = [str(Path(sys.executable).with_name("flwr")), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finished(-1, f"{command[0]}: {error}")
    return Finished(done.returncode, done.stdout + done.stderr)


def registrations(registry: Registry) -> list[Registration]:
    """The keys that may connect now, by site: those of enrolled sites, and of no other."""
    return [
        Registration(site, record.key.public)
        for site, record in sorted(registry.sites.items())
        if record.state == "enrolled" and record.key is not None
    ]


@dataclass
class SuperLinkNodes:
    """The keys that one running SuperLink was told of. A new SuperLink needs a new object: it knows none.

    Attributes:
        superlink: its name in Flower's own configuration.
        run: runs ``flwr``.
        nodes: Flower's node ID of each key; None where the SuperLink had the key before this object.
    """

    superlink: str
    run: Runner = run_flwr
    nodes: dict[Registration, str | None] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def apply(self, file: RegistryFile) -> None:
        """Registers what is missing and takes away what is revoked or replaced; may be called again at any
        time, from any thread.

        Raises:
            StudyError: if Flower refuses or does not answer; what was done so far stays, and the next call goes on.
        """
        with self._lock:
            wanted = registrations(file.read())
            # First out, then in: at no moment does a site have two keys.
            for known in [known for known in self.nodes if known not in wanted]:
                self._unregister(known)
            for missing in [one for one in wanted if one not in self.nodes]:
                self.nodes[missing] = self._register(missing)

    def _register(self, one: Registration) -> str | None:
        with tempfile.TemporaryDirectory() as folder:
            key = Path(folder) / f"{one.site}.pub"
            key.write_text(one.public_key + "\n")
            arguments = ["supernode", "register", str(key), self.superlink, "--name", one.site, "--format", "json"]
            done = self.run(arguments)
        node = _node_id(done)
        if node is None and ALREADY not in done.output.lower():
            raise StudyError(f"{one.site}: could not be registered with the SuperLink; {_said(done)}")
        return node

    def _unregister(self, one: Registration) -> None:
        node = self.nodes[one]
        if node is None:
            raise StudyError(
                f"{one.site}: its key is known to the SuperLink from before this start, so it cannot be taken away; "
                "restart the SuperLink, which then knows only the keys that may connect"
            )
        done = self.run(["supernode", "unregister", node, self.superlink, "--format", "json"])
        if not _succeeded(done):
            raise StudyError(f"{one.site}: its key could not be taken away from the SuperLink; {_said(done)}")
        del self.nodes[one]


def result_of(done: Finished) -> dict[str, object]:
    """The JSON object in a command's output. Flower reports some errors there with exit code 0."""
    start, end = done.output.find("{"), done.output.rfind("}")
    try:
        value = json.loads(done.output[start : end + 1])
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _succeeded(done: Finished) -> bool:
    return done.code == 0 and result_of(done).get("success") is True


def _node_id(done: Finished) -> str | None:
    node = result_of(done).get("node-id")
    return str(node) if _succeeded(done) and node is not None else None


def _said(done: Finished) -> str:
    lines = [line.strip() for line in done.output.splitlines() if line.strip()]
    return f"flwr said: {quoted(uncoloured(lines[-1]), 300) if lines else 'nothing'} (is the SuperLink running?)"
