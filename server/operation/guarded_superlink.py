"""Flower's SuperLink with a guard before what nodes ask, and with this federation's list of keys.

Run as a program of its own. Who may connect is read from the list of sites, again whenever it changes. On this
machine's loopback it also answers ``GET /oncofed/nodes``, who is connected, and ``POST /oncofed/stop/RUN``.

Flower has no public hook for this, so names of its pinned version are replaced, all of them here: with another version
the SuperLink does not start.
"""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import load_ssh_public_key
from flwr.common.constant import HEARTBEAT_DEFAULT_INTERVAL, NOOP_ACCOUNT_NAME, NOOP_FLWR_AID
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supercore.version import package_version
from flwr.superlink import extensions
from flwr.superlink.cli.flower_superlink import flower_superlink
from flwr.superlink.servicer.fleet import fleet_handlers as handlers
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from common.errors import ConfigError, OncofedError
from common.system.files import write_json
from common.system.outside import say
from server.operation.fleet_guard import Check, FleetGuard
from server.operation.quota import Quota
from server.operation.request_limits import RequestLimits
from server.provision.registrations import Registration, registrations
from server.provision.registry import RegistryFile

FLOWER = "1.41.0"
LOOK_AGAIN = 1.0
"""Seconds between two looks at the list of sites."""


class Nodes:
    """The keys that this SuperLink lets in, and the nodes that use them.

    Args:
        registry: who may connect.
        file: where the numbers of the nodes are written, by site.
    """

    def __init__(self, registry: RegistryFile, file: Path) -> None:
        self._registry = registry
        self._file = file
        self._applied: int | None = None
        self.numbers: dict[Registration, int] = {}
        self._sites: dict[int, str] = {}

    def site_of(self, node: int) -> str:
        """The site of a node's number.

        Raises:
            KeyError: if there is none.
        """
        return self._sites[node]

    def apply(self, state: Any) -> bool:
        """Lets in and shuts out what has changed in the list of sites; whether anything had.

        Args:
            state: Flower's LinkState.
        """
        changed = self._registry.path.stat().st_mtime_ns
        if changed == self._applied:
            return False
        wanted = registrations(self._registry.read())
        # Others read these meanwhile: they are put in place whole.
        numbers = dict(self.numbers)
        # First out, then in: at no moment does a site have two keys.
        for one in [one for one in numbers if one not in wanted]:
            number = numbers.pop(one)
            # One that was never connected cannot be taken away in this version.
            if state.activate_node(number, HEARTBEAT_DEFAULT_INTERVAL):
                state.deactivate_node(number)
            state.delete_node(NOOP_FLWR_AID, number)
        for one in wanted:
            if one not in numbers:
                key = public_key_to_bytes(load_ssh_public_key(one.public_key.encode()))  # type: ignore[arg-type]
                numbers[one] = state.create_node(
                    NOOP_FLWR_AID, NOOP_ACCOUNT_NAME, key, HEARTBEAT_DEFAULT_INTERVAL, name=one.site
                )
        self.numbers, self._sites = numbers, {number: one.site for one, number in numbers.items()}
        self._applied = changed
        write_json(self._file, {one.site: str(number) for one, number in self.numbers.items()})
        return True

    def seen(self, state: Any) -> dict[str, dict[str, object]]:
        """How each site's node stands: whether it is connected, and since when."""
        sites = {number: one.site for one, number in self.numbers.items()}
        found: dict[str, dict[str, object]] = {}
        for node in state.get_node_info(node_ids=list(sites)):
            online = node.status == "online"
            since = node.last_activated_at if online else node.last_deactivated_at
            found[sites[node.node_id]] = {"connected": online, "since": since or None}
        return found


def install_guard(guard: FleetGuard) -> None:
    """Puts ``guard`` before Flower's handlers of what nodes ask.

    Raises:
        ConfigError: if the installed Flower is not the one that this was written for.
    """

    def before(name: str, check: Check) -> None:
        original = getattr(handlers, name, None)
        if package_version != FLOWER or original is None:
            raise ConfigError(
                f"Flower {package_version} is installed; nodes can be held to their own in {FLOWER} only. Install the "
                "versions of constraints.txt"
            )

        def handle(request: Any, state: Any, **options: Any) -> Any:
            with check(request, state) as then:
                response = original(request=request, state=state, **options)
                then(response)
            return response

        setattr(handlers, name, handle)

    for name, check in guard.checks().items():
        before(name, check)


def install(nodes: Nodes, quota: Quota) -> None:
    """Makes the SuperLink of this process a guarded one; call it before the SuperLink starts."""
    found: dict[str, Any] = {}

    def children_of(object_id: str) -> list[str] | None:
        kept = found["state"].object_store.store.get(object_id)
        return list(kept.child_object_ids) if kept is not None else None

    guard = FleetGuard(nodes.site_of, children_of, quota)
    install_guard(guard)

    def configure(app: Any) -> None:
        found["state"] = app.state.linkstate_factory.state()
        app.router.routes += [
            Route("/oncofed/nodes", partial(_nodes, nodes), methods=["GET"]),
            Route("/oncofed/stop/{run:int}", _stop, methods=["POST"]),
        ]

    @asynccontextmanager
    async def keys(app: Any) -> AsyncIterator[None]:
        state = app.state.linkstate_factory.state()
        nodes.apply(state)
        task = asyncio.create_task(_watch(nodes, guard, state))
        try:
            yield
        finally:
            task.cancel()

    extensions.configure_app = configure
    extensions.get_middleware = lambda: (Middleware(RequestLimits),)
    extensions.get_lifespan_contexts = lambda: (keys,)


async def _watch(nodes: Nodes, guard: FleetGuard, state: Any) -> None:
    said = ""
    while True:
        await asyncio.sleep(LOOK_AGAIN)
        try:
            if await asyncio.to_thread(nodes.apply, state):
                guard.forget({number: one.site for one, number in nodes.numbers.items()})
            said = ""
        except (OncofedError, OSError, ValueError) as error:
            # Those who are let in stay so: the list is read again, and a fault of it is told once.
            if str(error) != said:
                say(f"the list of sites could not be applied: {error}", stream=sys.stderr)
            said = str(error)


async def _nodes(nodes: Nodes, request: Request) -> JSONResponse:
    state = request.app.state.linkstate_factory.state()
    return JSONResponse({"now": datetime.now(UTC).isoformat(), "nodes": nodes.seen(state)})


async def _stop(request: Request) -> JSONResponse:
    state, run = request.app.state.linkstate_factory.state(), request.path_params["run"]
    stopped = bool(state.get_run_info(run_ids=[run])) and await asyncio.to_thread(state.stop_run, run)
    return JSONResponse({"stopped": stopped})


def main() -> None:
    """Runs the SuperLink until it is stopped; the options that are not ours are Flower's."""
    options = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    options.add_argument("--registry", type=Path, required=True)
    options.add_argument("--nodes", type=Path, required=True)
    options.add_argument("--site-quota", type=int, required=True, help="bytes")
    options.add_argument("--quota", type=int, required=True, help="bytes")
    own, rest = options.parse_known_args()
    install(Nodes(RegistryFile(own.registry), own.nodes), Quota(own.site_quota, own.quota))
    sys.argv = ["flower-superlink", *rest]
    flower_superlink()


if __name__ == "__main__":
    try:
        main()
    except OncofedError as error:
        sys.exit(f"error: {error}")
