"""The keys that may connect to Flower's SuperLink, which knows none by itself: it runs in memory."""

from dataclasses import dataclass

from server.provision.registry import Registry


@dataclass(frozen=True)
class Registration:
    """A key that may connect.

    Attributes:
        site: whose it is.
        public_key: one line as of :func:`common.protocol.node_keys.public_line`.
    """

    site: str
    public_key: str


def registrations(registry: Registry) -> list[Registration]:
    """The keys that may connect now, by site: those of enrolled sites, and of no other."""
    return [
        Registration(site, record.key.public)
        for site, record in sorted(registry.sites.items())
        if record.state == "enrolled" and record.key is not None
    ]
