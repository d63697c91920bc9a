"""Which sites are connected now, and since when the others are not."""

from dataclasses import dataclass
from datetime import UTC, datetime

from server.operation.flower_home import FlowerHome


@dataclass(frozen=True)
class SiteConnection:
    """How a site's node stands.

    Attributes:
        connected: whether the coordinator hears of it.
        since: of this state; None if it was never connected since the server was started.
    """

    connected: bool
    since: datetime | None


def connections(home: FlowerHome) -> dict[str, SiteConnection]:
    """By site, of those whose keys the running server lets in; empty if it does not answer."""
    answer = home.asks("GET", "/oncofed/nodes") or {"nodes": {}}
    return {
        site: SiteConnection(node["connected"], _time(node["since"])) for site, node in sorted(answer["nodes"].items())
    }


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text).astimezone(UTC) if text else None
