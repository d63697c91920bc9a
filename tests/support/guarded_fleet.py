"""A guarded SuperLink behind a real nginx, and nodes that do what they should not, each with a registered key."""

import asyncio
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import uvicorn
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.app.message.message import remove_content_from_message
from flwr.common.constant import NOOP_FLWR_AID
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.fleet_pb2 import ActivateNodeRequest, PullMessagesRequest, PushMessagesRequest
from flwr.proto.message_pb2 import PushObjectRequest
from flwr.proto.node_pb2 import Node
from flwr.supercore.constant import NOOP_FEDERATION_ID, TaskType
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink import extensions
from flwr.superlink.main import create_app
from flwr.superlink.servicer.fleet import fleet_handlers
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor
from running_federation import free_port, need_nginx

from client.enrolment.connection import trusting_context
from common.protocol.node_keys import identity_file, new_key, public_line
from server.operation.guarded_superlink import Nodes, install
from server.operation.proxy import ProxyPlan, find_nginx, write_configuration
from server.operation.quota import Quota
from server.provision.authority import make_server_certificate, node_certificate, open_authority
from server.provision.registry import KeyRecord, RegistryFile, utc_now

SUPERLINK = 1


class Fleet:
    """A running SuperLink, its state, and the keys of its sites.

    Args:
        root: an empty folder.
        sites: that have joined.
    """

    def __init__(self, root: Path, sites: Sequence[str]) -> None:
        self.root = root
        root.mkdir(exist_ok=True)
        self.authority = open_authority(root / "authority", "tumours", 10, utc_now())
        for name in ("public", "loopback"):
            make_server_certificate(root / name, self.authority, "localhost", 10, utc_now())
        self.keys = {site: new_key() for site in sites}
        for site, key in self.keys.items():
            pem = node_certificate(self.authority, site, public_line(key), utc_now())
            (root / f"{site}.pem").write_bytes(identity_file(key, pem))
        self.registry = RegistryFile(root / "registry.json")
        self.registry.create("tumours")
        with self.registry.edit() as registry:
            for site, key in self.keys.items():
                registry.invite(site, "brain", 1, utc_now())
                registry.sites[site].state = "enrolled"
                registry.sites[site].key = KeyRecord(public=public_line(key), enrolled=utc_now())
        self.ports = {name: free_port() for name in ("public", "superlink", "enrolment")}
        self.state: Any = None
        self.run = 0
        self.token = ""

    @property
    def address(self) -> str:
        """Where nodes connect."""
        return f"localhost:{self.ports['public']}"

    def identity(self, site: str) -> ssl.SSLContext:
        """TLS as that site's node."""
        return trusting_context(self.root / "authority" / "ca.crt", self.root / f"{site}.pem")

    def stranger(self) -> ssl.SSLContext:
        """TLS as somebody without a certificate."""
        return ssl.create_default_context(cafile=str(self.root / "authority" / "ca.crt"))

    def plan(self) -> ProxyPlan:
        return ProxyPlan(
            listen=(f"127.0.0.1:{self.ports['public']}",),
            certificate=self.root / "public" / "server.crt",
            key=self.root / "public" / "server.key",
            superlink=self.ports["superlink"],
            superlink_authority=self.root / "authority" / "ca.crt",
            enrolment=self.ports["enrolment"],
            folder=self.root / "proxy",
            keys={site: public_line(key) for site, key in self.keys.items()},
        )

    def begin_run(self) -> int:
        """A study, as far as the SuperLink is concerned."""
        self.run = self.state.create_run(
            None, None, None, {}, NOOP_FEDERATION_ID, None, NOOP_FLWR_AID, TaskType.SERVER_APP
        )
        task = self.state.get_run_info(run_ids=[self.run])[0].primary_task_id
        self.token = self.state.claim_task(task)
        assert self.token
        assert self.state.activate_task(task)
        TaskIdentity._run_id, TaskIdentity._node_id, TaskIdentity._task_id = self.run, SUPERLINK, task
        return int(self.run)

    def ask(self, node: int, kind: str = "query.hello", size: int = 16) -> str:
        """A question of the study's to a node."""
        content = RecordDict({"config": ConfigRecord({"text": "x" * size})})
        message = Message(content, dst_node_id=node, message_type=kind)
        return self.put(message)

    def put(self, message: Message) -> str:
        """Stores a message as the study's own process would."""
        message.metadata.__dict__["_message_id"] = message.object_id
        session = self.state.start_session(self.run)
        stored, _ = self.state.store_message_and_object_tree(message, get_object_tree(message), session)
        assert stored
        for identifier, one in get_all_nested_objects(message).items():
            self.state.object_store.put(identifier, one.deflate())
        return str(message.metadata.message_id)


@contextmanager
def guarded_fleet(root: Path, sites: Sequence[str], quota: Quota) -> Iterator[Fleet]:
    """Runs one; Flower's own names are put back at the end."""
    need_nginx()
    fleet = Fleet(root, sites)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("_run_id", "_node_id", "_task_id"):
            patch.setattr(TaskIdentity, name, getattr(TaskIdentity, name))
        # What the guard replaces comes back with the context.
        for module in (extensions, fleet_handlers):
            for name, value in list(vars(module).items()):
                if callable(value):
                    patch.setattr(module, name, value)
        nodes = Nodes(fleet.registry, root / "nodes.json")
        install(nodes, quota)
        app = create_app()
        fleet.state = app.state.linkstate_factory.state()
        config = uvicorn.Config(
            app,
            host="127.0.0.1",
            port=fleet.ports["superlink"],
            ssl_certfile=root / "loopback" / "server.crt",
            ssl_keyfile=root / "loopback" / "server.key",
            log_config=None,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.05)
        file = write_configuration(fleet.plan())
        with (root / "nginx.log").open("wb") as log:
            nginx = subprocess.Popen([find_nginx(), "-c", file, "-p", root / "proxy"], stdout=log, stderr=log)
        try:
            _wait_for(fleet)
            yield fleet
        finally:
            nginx.terminate()
            nginx.wait(20)
            server.should_exit = True
            thread.join(20)


def _wait_for(fleet: Fleet) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            httpx.get(f"https://{fleet.address}/", verify=fleet.stranger(), trust_env=False)
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError("nginx does not answer")


class HostileNode:
    """A node with a registered key that says what it likes.

    Args:
        fleet: where.
        site: whose key signs its messages.
        tls: whose certificate its connections show.
    """

    def __init__(self, fleet: Fleet, site: str, tls: str | None = None) -> None:
        self.fleet = fleet
        self.site = site
        key: ec.EllipticCurvePrivateKey = fleet.keys[site]
        self.public = public_key_to_bytes(key.public_key())
        self.client = FleetHttpClient(
            f"https://{fleet.address}",
            interceptors=[
                RuntimeVersionHttpInterceptor(component_name="SuperNode"),
                NodeAuthHttpInterceptor(key, key.public_key()),
            ],
            verify=fleet.identity(tls or site),
        )
        self.number = fleet.state.get_node_id_by_public_key(self.public)
        self.node = Node(node_id=self.number)

    def activate(self) -> None:
        self.client.ActivateNode(ActivateNodeRequest(public_key=self.public, heartbeat_interval=30))

    def pull(self) -> Any:
        """The next message for this node as Flower's protobuf; None if there is none."""
        response = self.client.PullMessages(PullMessagesRequest(node=self.node))
        return response.messages_list[0] if response.messages_list else None

    def push(self, message: Message, tree: Any = None, **changes: Any) -> Any:
        """Sends a message, after ``changes`` to its metadata."""
        message.metadata.__dict__["_message_id"] = message.object_id
        proto = message_to_proto(remove_content_from_message(message))
        for name, value in changes.items():
            setattr(proto.metadata, name, value)
        request = PushMessagesRequest(
            node=self.node, messages_list=[proto], message_object_trees=[tree or get_object_tree(message)]
        )
        return self.client.PushMessages(request)

    def push_object(self, session: str, identifier: str, content: bytes) -> Any:
        return self.client.PushObject(
            PushObjectRequest(
                node=self.node,
                run_id=self.fleet.run,
                object_id=identifier,
                object_content=content,
                session_id=session,
            )
        )


def answer_to(proto: Any, content: RecordDict | None = None) -> Message:
    """An honest answer to a message that was pulled."""
    asked = message_from_proto(proto)
    return Message(content or RecordDict({"config": ConfigRecord({"ok": 1})}), reply_to=asked)


def arrays(mebibytes: int) -> RecordDict:
    """Content of that size, each part of it another one."""
    values = np.arange(mebibytes << 18, dtype=np.uint32)
    return RecordDict({"arrays": ArrayRecord([values])})
