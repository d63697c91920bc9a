"""A coordinator that a real node of Flower's takes for one, and a site that has joined it."""

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
from coordinator import HTML
from enrolment_service import free_port
from flwr.app import Message, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.common.serde import fab_to_proto, message_to_proto, run_to_proto
from flwr.proto.fab_pb2 import GetFabResponse
from flwr.proto.fleet_pb2 import (
    ActivateNodeResponse,
    DeactivateNodeResponse,
    PullMessagesResponse,
    PushMessagesResponse,
    RegisterNodeFleetResponse,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatResponse
from flwr.proto.message_pb2 import ConfirmMessageReceivedResponse, PullObjectRequest, PullObjectResponse
from flwr.proto.run_pb2 import GetRunResponse
from flwr.supercore.fab import Fab
from flwr.supercore.inflatable.inflatable_object import get_object_tree
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity
from google.protobuf.message import Message as Protobuf

import client
from client.enrolment.connection import Connection, save_connection
from client.site import SiteSettings, save_site
from common.protocol.node_keys import new_key, private_file
from server.provision.authority import make_server_certificate, open_authority

NODE, RUN = 5, 7
ROOT = Path(client.__file__).parents[1]

ACTIVATE, HEARTBEAT, PULL, PUSH, DEACTIVATE = (
    f"/v1/fleet/{name}"
    for name in ("activate-node", "send-node-heartbeat", "pull-messages", "push-messages", "deactivate-node")
)
BROKEN = (500, HTML, b"<h1>500 Internal Server Error</h1>")
GONE = (404, HTML, b"<h1>404 Not Found</h1>")


def answer(proto: Protobuf) -> tuple[int, str, bytes]:
    return 200, "application/protobuf", proto.SerializeToString()


def well() -> dict[str, tuple[int, str, bytes]]:
    """What a coordinator answers that has nothing to do."""
    return {
        "/v1/fleet/register-node": answer(RegisterNodeFleetResponse()),
        ACTIVATE: answer(ActivateNodeResponse(node_id=NODE)),
        HEARTBEAT: answer(SendNodeHeartbeatResponse(success=True)),
        PULL: answer(PullMessagesResponse()),
        DEACTIVATE: answer(DeactivateNodeResponse()),
    }


def message(group: str) -> tuple[int, str, bytes]:
    """One message, as it comes with the answer to a pull."""
    return _pulled(_message(group))


class Study:
    """What a coordinator answers whose study sends a bundle, and a message whenever it is told to.

    Args:
        bundle: the archive.
    """

    def __init__(self, bundle: bytes) -> None:
        self._waiting: list[Message] = []
        self._contents: dict[str, bytes] = {}
        run = Run.create_empty(RUN)
        run.fab_hash, run.fab_id, run.fab_version = hashlib.sha256(bundle).hexdigest(), "oncofed/oncofed", "0.1.0"
        self.answers = {
            **well(),
            PULL: self._pull,
            PUSH: answer(PushMessagesResponse(session_id="session")),
            "/v1/fleet/get-run": answer(GetRunResponse(run=run_to_proto(run))),
            "/v1/fleet/get-fab": answer(GetFabResponse(fab=fab_to_proto(Fab(run.fab_hash, bundle, {})))),
            "/v1/fleet/pull-object": self._object,
            "/v1/fleet/confirm-message-received": answer(ConfirmMessageReceivedResponse()),
        }

    def send(self) -> None:
        made = _message("1")
        self._contents |= {made.object_id: made.deflate()}
        self._contents |= {child.object_id: child.deflate() for child in made.children.values()}
        self._waiting.append(made)

    def _pull(self, _: bytes) -> tuple[int, str, bytes]:
        return _pulled(self._waiting.pop()) if self._waiting else answer(PullMessagesResponse())

    def _object(self, asked: bytes) -> tuple[int, str, bytes]:
        content = self._contents[PullObjectRequest.FromString(asked).object_id]
        return answer(PullObjectResponse(object_found=True, object_available=True, object_content=content))


def _message(group: str) -> Message:
    TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = RUN, 1, 1
    made = Message(RecordDict(), dst_node_id=NODE, message_type="query.hello", group_id=group)
    made.metadata.__dict__["_run_id"] = RUN
    made.metadata.__dict__["_message_id"] = made.object_id
    return made


def _pulled(made: Message) -> tuple[int, str, bytes]:
    tree = get_object_tree(made)
    proto = message_to_proto(remove_content_from_message(made))
    return answer(PullMessagesResponse(messages_list=[proto], message_object_trees=[tree]))


def joined_site(root: Path, port: int, name: str = "north") -> Path:
    """The ``site.yaml`` of a site that has joined a coordinator at ``localhost:port``; its certificate is ``tls``."""
    folder = root / name
    (folder / "keys").mkdir(parents=True)
    (root / "images").mkdir(exist_ok=True)
    now = datetime.now(UTC)
    authority = open_authority(root / "authority", "tumours", 30, now - timedelta(days=1))
    if not (root / "tls").exists():
        make_server_certificate(root / "tls", authority, "localhost", 10, now - timedelta(days=1))
    settings = SiteSettings(
        name=name,
        reader="brats",
        organ="brain",
        path=root / "images",
        folder=folder,
        cache_dir=folder / "cache",
        health_port=free_port(),
    )
    save_site(settings, folder / "site.yaml")
    save_connection(Connection(federation="tumours", site=name, address=f"localhost:{port}", enrolled=now), folder)
    (folder / "ca.crt").write_bytes((root / "authority" / "ca.crt").read_bytes())
    (folder / "keys" / "node").write_bytes(private_file(new_key()))
    (folder / "keys" / "node").chmod(0o600)
    return folder / "site.yaml"


class Started:
    """``oncofed-client start`` of a site.

    Args:
        patience: seconds without contact after which a node is started again; without it the command's own.
    """

    def __init__(self, site: Path, patience: float | None = None) -> None:
        self._log = site.parent / "start.out"
        given = f"start.PATIENCE = {patience}; " if patience is not None else ""
        program = f"from client.node import start; {given}start.SOONEST = 0.5; "
        program += "from client.cli import main; main(['start', sys.argv[1]])"
        with self._log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", f"import sys; {program}", str(site)],
                env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> "Started":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(40)
            except subprocess.TimeoutExpired:
                self.process.kill()

    @property
    def said(self) -> str:
        return self._log.read_text(errors="replace")

    def nodes(self) -> list[psutil.Process]:
        """The guarded node, if it runs."""
        running = []
        for one in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.Error):
                if "guarded_node" in " ".join(one.cmdline()):
                    running.append(one)
        return running

    def wait_until(self, condition: Callable[[], bool], seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not condition():
            log = self._log.parent / "node.log"
            assert time.monotonic() < end, self.said + (log.read_text(errors="replace")[-3000:] if log.exists() else "")
            time.sleep(0.1)


def processes_of(site: Path) -> list[psutil.Process]:
    """Everything that runs with the Flower home of a site's node."""
    home = str((site.parent / "flower").resolve())
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("FLWR_HOME") == home and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found
