"""The first half of the way: the proxy, its or the coordinator's name, and a connection."""

import socket

from client.doctor.examination import NetworkCheck, good, problem
from client.doctor.network.proxy import bracketed, port_of, proxy_for, without_password
from common.protocol.enrolment import split_address

TIMEOUT = 10.0
"""Seconds for each step."""


def look_at_route(address: str) -> list[NetworkCheck]:
    """Proxy, name and connection; each is looked at only if the one before it is good.

    Args:
        address: of the coordinator, ``host:port``.
    """
    host, port = split_address(address)
    proxy = proxy_for(host, port)
    if proxy is None:
        checks = [good("proxy", f"the environment names none for {address}: the connection is direct")]
    elif proxy.scheme not in ("http", "https"):
        return [
            problem(
                "proxy",
                f"HTTPS_PROXY or ALL_PROXY names {without_password(proxy)}, but a node can go through http:// and "
                f"https:// proxies only; name such a one, or except {host} with NO_PROXY",
            )
        ]
    else:
        checks = [good("proxy", f"{without_password(proxy)}, as HTTPS_PROXY or ALL_PROXY says")]
    # Behind a proxy this machine need not know the coordinator's name: the proxy looks it up.
    first_host, first_port = (host, port) if proxy is None else (proxy.host, port_of(proxy))
    try:
        found = socket.getaddrinfo(first_host, first_port, type=socket.SOCK_STREAM)
    except OSError as error:
        way_out = (
            "check the name in connection.yaml, this machine's DNS, and whether HTTPS_PROXY must be set"
            if proxy is None
            else "check the name of the proxy, and this machine's DNS"
        )
        return [*checks, problem("name", f"{first_host} is not known here ({error.strerror or error}); {way_out}")]
    addresses = ", ".join(dict.fromkeys(str(entry[4][0]) for entry in found))
    checks.append(good("name", f"{first_host} is {addresses}"))
    where = f"{bracketed(first_host)}:{first_port}"
    try:
        socket.create_connection((first_host, first_port), timeout=TIMEOUT).close()
    except OSError as error:
        return [*checks, problem("connection", _closed(where, error, through_proxy=proxy is not None))]
    return [*checks, good("connection", f"{where} accepts connections")]


def _closed(where: str, error: OSError, *, through_proxy: bool) -> str:
    what = "the proxy" if through_proxy else "the coordinator"
    if isinstance(error, ConnectionRefusedError):
        running = "that the proxy runs" if through_proxy else "that its server is running (ask the coordinator)"
        return f"{where}: {what} refuses connections there; check the port, and {running}"
    if isinstance(error, TimeoutError):
        return (
            f"{where}: {what} does not answer within {TIMEOUT:.0f} seconds, as behind a firewall that drops packets; "
            f"ask your network's people to let this machine connect to {where}"
        )
    return f"{where}: {what} cannot be reached ({error.strerror or error}); ask your network's people about the way"
