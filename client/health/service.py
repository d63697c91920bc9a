"""The standard health service (``grpc.health.v1``) of a node, on this machine only.

Compose, systemd and any gRPC health probe can ask it; the empty service name stands for all of them together. Each
answer is found when it is asked for. Beside it travels whose node answers, since several sites may live on one machine,
and the sentence that says what is wrong: only programs on this machine can ask.
"""

import hashlib
import logging
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc  # type: ignore[import-untyped]
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]

from client.health.checks import Check
from client.site import SiteSettings
from common.errors import ConfigError
from common.system.outside import printable

REASON = "oncofed-reason-bin"
"""Trailing metadata with what is wrong, as UTF-8."""
IDENTITY = "oncofed-site-bin"
"""Initial metadata with the :func:`identity` of the site whose node answers."""
NODE = "node"
"""The service that is well whenever the node answers."""
_LONGEST = 4_000
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def identity(settings: SiteSettings) -> str:
    """By what a site's node is told apart from those of other sites on this machine: its name and its folder."""
    return f"{settings.name} {hashlib.sha256(os.fsencode(settings.folder.resolve())).hexdigest()}"


class _Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    def __init__(self, checks: Mapping[str, Check], whose: str) -> None:
        self._checks = {**checks, NODE: lambda: None}
        self._whose = whose.encode()

    def Check(self, request: Any, context: Any) -> Any:  # noqa: N802 - the name is the protocol's
        context.send_initial_metadata(((IDENTITY, self._whose),))
        if request.service and request.service not in self._checks:
            context.abort(grpc.StatusCode.NOT_FOUND, "there is no such service")
        names = [request.service] if request.service else list(self._checks)
        reasons = [f"{name}: {reason}" for name in names if (reason := _reason(self._checks[name])) is not None]
        if reasons:
            context.set_trailing_metadata(((REASON, "; ".join(reasons).encode()[:_LONGEST]),))
        return health_pb2.HealthCheckResponse(status=_NOT_SERVING if reasons else _SERVING)


def _reason(check: Check) -> str | None:
    try:
        return check()
    except Exception as error:
        logging.getLogger("oncofed.client.health").exception("a check failed")
        return f"could not be found out ({type(error).__name__})"


class HealthService:
    """The service, from :meth:`start` to :meth:`stop`.

    Args:
        checks: what is asked, by the service's name.
        port: on the loopback interface; 0 takes a free one.
        whose: the :func:`identity` of the node's site.

    Raises:
        ConfigError: if the port is taken.
    """

    def __init__(self, checks: Mapping[str, Check], port: int, whose: str = "") -> None:
        # Without this option a second node would share the port, and half of the questions would go to the other one.
        self._server = grpc.server(ThreadPoolExecutor(max_workers=2), options=(("grpc.so_reuseport", 0),))
        health_pb2_grpc.add_HealthServicer_to_server(_Health(checks, whose), self._server)
        try:
            self.port: int = self._server.add_insecure_port(f"127.0.0.1:{port}")
        except RuntimeError:
            self.port = 0
        if not self.port:
            raise ConfigError(f"port {port} is taken on this machine; set another `health_port` in site.yaml")

    def start(self) -> None:
        """Begins to answer, in threads of its own."""
        self._server.start()

    def stop(self) -> None:
        """Answers no more."""
        self._server.stop(grace=None).wait()


def ask_health(port: int, service: str, *, whose: str | None = None, timeout: float = 30.0) -> str | None:
    """What a running node says of one service: None if it is well, otherwise what is wrong.

    Args:
        port: of the node on this machine.
        service: ``data``, ``budget``, ``superlink``, ``node``, or empty for all.
        whose: the :func:`identity` of the site that must answer; without it any may.
        timeout: seconds.
    """
    # Asked directly: a hospital's proxy has no business between two programs of one machine.
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=(("grpc.enable_http_proxy", 0),)) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            answer, call = stub.Check.with_call(health_pb2.HealthCheckRequest(service=service), timeout=timeout)
        except grpc.RpcError as error:
            code = error.code()
            if code == grpc.StatusCode.UNAVAILABLE:
                return f"no node answers at 127.0.0.1:{port}; is it started?"
            return f"it did not say ({code.name.lower()})"
        if whose is not None and dict(call.initial_metadata() or ()).get(IDENTITY, b"") != whose.encode():
            return (
                f"another program answers at 127.0.0.1:{port}, not this site's node: start that, and give each site of "
                "this machine a `health_port` of its own in site.yaml"
            )
        if answer.status == _SERVING:
            return None
        told = dict(call.trailing_metadata() or ()).get(REASON, b"")
        text = told.decode(errors="replace") if isinstance(told, bytes) else ""
        return printable(text, _LONGEST).removeprefix(f"{service}: ") or "it is not well, and does not say why"
