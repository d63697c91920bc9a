"""Which proxy a connection takes, by the environment, as the node's own HTTP library reads it."""

import ipaddress
from urllib.request import getproxies

import httpx


def proxy_for(host: str, port: int, scheme: str = "https") -> httpx.URL | None:
    """The proxy for ``<scheme>://host:port``; None for a direct connection.

    ``HTTPS_PROXY`` (or ``HTTP_PROXY``), then ``ALL_PROXY``, unless ``NO_PROXY`` excepts the host: the rules of httpx,
    with which Flower connects. Unlike other programs it takes no ranges (``10.0.0.0/8``) there.
    """
    environment = getproxies()
    excepted = [entry.strip() for entry in environment.get("no", "").split(",")]
    proxy = environment.get(scheme) or environment.get("all")
    if not proxy or "*" in excepted or any(_covers(entry, scheme, host, port) for entry in excepted if entry):
        return None
    return httpx.URL(proxy if "://" in proxy else f"http://{proxy}")


def without_password(proxy: httpx.URL) -> str:
    """The proxy as it may be shown: a name and password in its address stay out."""
    return f"{proxy.scheme}://{bracketed(proxy.host)}:{port_of(proxy)}"


def port_of(proxy: httpx.URL) -> int:
    """The port, or the usual one of its scheme.

    >>> port_of(httpx.URL("http://proxy.example.org"))
    80
    """
    return proxy.port or (443 if proxy.scheme == "https" else 80)


def bracketed(host: str) -> str:
    """The host as it stands before a port.

    >>> bracketed("::1"), bracketed("fed.example.org")
    ('[::1]', 'fed.example.org')
    """
    return f"[{host}]" if ":" in host else host


def _covers(entry: str, scheme: str, host: str, port: int) -> bool:
    """Whether an entry of ``NO_PROXY`` is about this host: ``example.org`` covers ``fed.example.org`` as well."""
    of_scheme, separator, entry = entry.rpartition("://")
    if of_scheme not in ("", "all", scheme):
        return False
    exact = bool(separator)
    try:
        return ipaddress.ip_address(entry) == ipaddress.ip_address(host)
    except ValueError:
        pass
    name, _, own_port = entry.rpartition(":")
    if own_port.isdigit() and name:
        if int(own_port) != port:
            return False
        entry = name
    entry, host = entry.strip("[]").lower(), host.lower()
    if exact or entry == "localhost":
        return host == entry
    return host.endswith(entry) if entry.startswith(".") else host == entry or host.endswith(f".{entry}")
