"""Tells the coordinator that an earlier process of this node is gone, before the next one connects.

Flower notices a killed node only when its heartbeat has been missing for a minute. A node that is back sooner would
not be let in until then, and what it was working on would never be asked for again. So the node says goodbye for its
predecessor, and waits until that has been noticed.
"""

import time
from pathlib import Path
from typing import Any

from client.enrolment.connection import Connection, trusting_context
from client.site import SiteSettings
from common.errors import ConfigError
from common.protocol.node_keys import read_private_file
from common.system.files import write_bytes

NOTICED = 3.0
"""Seconds in which a running study notices that a node is away."""


def flower_home(settings: SiteSettings) -> Path:
    """Where Flower keeps what belongs to this site's node; nothing in it must last."""
    return settings.folder / "flower"


def node_number(settings: SiteSettings) -> Path:
    """The file with the number that the coordinator gave this site's node."""
    return flower_home(settings) / "node-number"


def remember_node(file: Path, client: Any) -> None:
    """Keeps the number that the coordinator gives this node when it connects.

    Args:
        file: where.
        client: ``flwr.supernode.fleet_http_client.FleetHttpClient``.
    """
    original = client.ActivateNode

    def activate(self: Any, request: Any) -> Any:
        answer = original(self, request)
        write_bytes(file, str(answer.node_id).encode())
        return answer

    client.ActivateNode = activate


def say_goodbye(file: Path, connection: Connection) -> bool:
    """Signs off the node of the last start; whatever goes wrong is left to the coordinator's own clock.

    Returns:
        Whether the coordinator knew it.
    """
    import httpx
    from flwr.proto.fleet_pb2 import DeactivateNodeRequest
    from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
    from flwr.supernode.fleet_http_client import FleetHttpClient
    from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

    try:
        node = int(file.read_text())
        key = read_private_file(connection.key.read_bytes())
        trust = trusting_context(connection.certificate, connection.identity)
    except (OSError, ValueError, ConfigError):
        return False
    interceptors: list[Any] = [
        RuntimeVersionHttpInterceptor(component_name="SuperNode"),
        NodeAuthHttpInterceptor(key, key.public_key()),
    ]
    try:
        with FleetHttpClient(f"https://{connection.address}", interceptors=interceptors, verify=trust) as client:
            client.DeactivateNode(DeactivateNodeRequest(node_id=node))
    except httpx.TransportError:
        return False
    except (httpx.HTTPError, RuntimeError):
        file.unlink(missing_ok=True)  # the coordinator was started anew and knows no such node
        return False
    file.unlink(missing_ok=True)
    time.sleep(NOTICED)
    return True
