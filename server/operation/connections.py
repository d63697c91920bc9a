"""Which sites are connected now, and since when the others are not."""

from dataclasses import dataclass
from datetime import UTC, datetime

from common.files import read_table
from server.operation.flower_home import NODES, SUPERLINK, FlowerHome
from server.provision.registrations import result_of


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
    """By site, of those whose keys the running server knows; empty if it does not answer."""
    file = home.path / NODES
    numbers = {str(number): site for site, number in read_table(file).items()} if file.exists() else {}
    listed = result_of(home.runner()(["supernode", "list", SUPERLINK, "--format", "json"])).get("nodes", [])
    found = {}
    for node in listed if isinstance(listed, list) else []:
        site = numbers.get(str(node.get("node-id")))
        if site is not None:
            connected = node.get("status") == "online"
            found[site] = SiteConnection(connected, _time(node.get("online-at" if connected else "offline-at")))
    return found


def _time(text: object) -> datetime | None:
    """Flower's ``2030-01-31 12:00:00Z``; ``N/A`` is none."""
    try:
        return datetime.fromisoformat(str(text).replace("Z", "+00:00")).astimezone(UTC)
    except ValueError:
        return None
