"""The enrolment service: ``POST /enrol``, plain HTTP on loopback; the reverse proxy before it speaks TLS."""

import asyncio
import ipaddress
import logging
from collections.abc import Callable

import uvicorn
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from common.errors import OncofedError
from common.protocol.enrolment import (
    FEDERATION_HEADER,
    LARGEST_MESSAGE,
    PATH,
    EnrolmentReply,
    EnrolmentRequest,
    Refusal,
    RefusalReply,
)
from common.protocol.node_keys import fingerprint
from common.system.outside import quoted
from common.system.safe_json import model_from_json
from server.provision.authority import Authority, node_certificate
from server.provision.enrolling import Enrolled, EnrolmentRefusedError, enrol
from server.provision.rate_limit import RateLimit
from server.provision.registry import RegistryFile, utc_now

log = logging.getLogger("oncofed.enrolment")

PATIENCE = 20.0
"""Seconds for a request of a few hundred bytes to arrive."""

ANSWERS: dict[Refusal, tuple[int, str]] = {
    Refusal.MALFORMED: (400, "send JSON with site, token and public_key, as oncofed-client init does"),
    Refusal.TOO_LARGE: (413, "the request is too large; use oncofed-client init"),
    Refusal.TOO_MANY: (429, "too many requests; wait a minute"),
    Refusal.UNAVAILABLE: (503, "enrolment is out of order; tell the coordinator, nothing was changed"),
    Refusal.UNKNOWN_TOKEN: (403, "this token is not valid for this site; ask the coordinator for a new kit"),
    Refusal.USED_TOKEN: (403, "this token was used already; if not by you, tell the coordinator at once"),
    Refusal.EXPIRED_TOKEN: (403, "this token has expired; ask the coordinator for a new kit"),
    Refusal.REVOKED: (403, "this site was revoked; ask the coordinator"),
    Refusal.KEY_TYPE: (400, "the key must be ECDSA on P-384 in OpenSSH's format"),
    Refusal.KEY_IN_USE: (409, "this key cannot be used; make a new one"),
}
"""Status and sentence for each refusal."""

Welcome = Callable[[Enrolled], EnrolmentReply]
"""What a site is told that enrols."""


def enrolment_app(
    registry: RegistryFile,
    federation: str,
    welcome: Welcome,
    *,
    limit: RateLimit | None = None,
    patience: float = PATIENCE,
) -> Starlette:
    """The service.

    Args:
        registry: the list of sites, changed by it.
        federation: its name.
        welcome: what an enrolled site is told.
        limit: how often an address may ask.
        patience: seconds that a request may take to arrive.
    """
    limiter = limit or RateLimit()

    async def answer(request: Request) -> JSONResponse:
        if not limiter.allows(network_of(caller(request))):
            return _refused(Refusal.TOO_MANY)
        try:
            async with asyncio.timeout(patience):
                body = await _body(request)
            if body is None:
                return _refused(Refusal.TOO_LARGE)
            asked = model_from_json(EnrolmentRequest, body)
        except (ValidationError, TimeoutError, ClientDisconnect):
            return _refused(Refusal.MALFORMED)
        return await run_in_threadpool(_enrol, registry, asked, welcome)

    app = Starlette(routes=[Route(PATH, answer, methods=["POST"])])
    app.state.federation = federation
    return app


def welcoming(federation: str, address: str, authority: Authority) -> Welcome:
    """Tells a site where the SuperLink is, and gives it the certificate of its key."""

    def welcome(enrolled: Enrolled) -> EnrolmentReply:
        certificate = node_certificate(authority, enrolled.site, enrolled.public_key, utc_now()).decode()
        return EnrolmentReply(federation=federation, address=address, certificate=certificate)

    return welcome


def serve(app: Starlette, port: int) -> None:
    """Runs the service until it is interrupted."""
    uvicorn.Server(configured(app, port)).run()


def configured(app: Starlette, port: int) -> uvicorn.Config:
    """How the service is run: on 127.0.0.1, so that no other machine can reach it but through the proxy."""
    return uvicorn.Config(
        app,
        host="127.0.0.1",
        port=port,
        access_log=False,
        # uvicorn would set up the whole process's logging anew, and close the handlers of everyone else on the way.
        log_config=None,
        log_level="warning",
        proxy_headers=False,  # see caller()
        server_header=False,
        # Whoever asks on this machine learns whose service has the port.
        headers=[(FEDERATION_HEADER, app.state.federation)],
        limit_concurrency=64,
        timeout_keep_alive=5,
    )


def network_of(address: str) -> str:
    """By what an address is counted: of IPv6 the network, since whoever has one address has all of them.

    >>> network_of("2001:db8:0:1:2::3"), network_of("192.0.2.7")
    ('2001:db8:0:1::/64', '192.0.2.7')
    """
    try:
        return str(ipaddress.ip_network(f"{address}/64", strict=False)) if ":" in address else address
    except ValueError:
        return address


def caller(request: Request) -> str:
    """The address that asks: the one that our proxy saw, which is the last that it appended.

    The header counts only where the connection comes from this machine; anything before the last entry was written by
    the caller.
    """
    peer = request.client.host if request.client else ""
    try:
        if not ipaddress.ip_address(peer).is_loopback:
            return peer
        last = ",".join(request.headers.getlist("x-forwarded-for")).rpartition(",")[2].strip()
        return str(ipaddress.ip_address(last))
    except ValueError:
        return peer


async def _body(request: Request) -> bytes | None:
    """The request's body; None if it is larger than allowed, whatever its header says."""
    content = b""
    async for part in request.stream():
        content += part
        if len(content) > LARGEST_MESSAGE:
            return None
    return content


def _enrol(registry: RegistryFile, asked: EnrolmentRequest, welcome: Welcome) -> JSONResponse:
    try:
        enrolled = enrol(registry, asked, utc_now())
    except EnrolmentRefusedError as error:
        # Who has no token of a site may say any name.
        told = quoted(asked.site) if error.reason is Refusal.UNKNOWN_TOKEN else asked.site
        log.warning("%s: not enrolled (%s)", told, error.reason.value)
        return _refused(error.reason)
    except OncofedError:
        log.exception("%s: not enrolled", asked.site)
        return _refused(Refusal.UNAVAILABLE)
    log.info("%s: enrolled%s, key %s", asked.site, " again" if enrolled.again else "", fingerprint(enrolled.public_key))
    return JSONResponse(welcome(enrolled).model_dump(mode="json"))


def _refused(reason: Refusal) -> JSONResponse:
    status, message = ANSWERS[reason]
    return JSONResponse(RefusalReply(error=reason, message=message).model_dump(mode="json"), status_code=status)
