"""Middleware of the SuperLink: what a request must bring to be read at all."""

from collections import Counter

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from server.operation.fleet_guard import asking
from server.operation.proxy import SITE_HEADER

FLEET = "/v1/fleet/"
OF_A_SITE = 24_000_000
"""Bytes of bodies that are read at once, of one site. A body takes a few times its size while it is worked on."""
OF_ALL = 128_000_000


class RequestLimits:
    """Takes a node's request only with the name of its site, which the proxy gives, and while there is room for it.

    Args:
        app: what comes after.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._reading: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(FLEET):
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        site, length = headers.get(SITE_HEADER, ""), headers.get("content-length", "")
        if not site:
            await _refusal(401, "nodes come through the proxy")(scope, receive, send)
            return
        if not length.isdecimal():
            await _refusal(411, "say how long it is")(scope, receive, send)
            return
        size = int(length)
        # A node tries again after 503.
        if self._reading[site] + size > OF_A_SITE or self._reading.total() + size > OF_ALL:
            await _refusal(503, "too much at once")(scope, receive, send)
            return
        self._reading[site] += size
        known = asking.set(site)
        try:
            await self._app(scope, receive, send)
        finally:
            asking.reset(known)
            self._reading[site] -= size
            if not self._reading[site]:
                del self._reading[site]


def _refusal(status: int, reason: str) -> JSONResponse:
    # Whatever follows on this connection is not a request of its own.
    return JSONResponse({"detail": reason}, status_code=status, headers={"connection": "close"})
