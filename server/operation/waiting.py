"""Whom a running study waits for, why, how long still, and what happens then: for ``status`` and for who follows it."""

from collections.abc import Mapping
from datetime import UTC, datetime

from common.study.progress import LOST
from server.operation.connections import SiteConnection
from server.operation.progress_state import ProgressState
from server.operation.study_files import Patience
from server.provision.registry import SiteRecord
from server.schedule import duration
from server.shut_out import shut_out


def waiting_lines(
    state: ProgressState,
    expected: tuple[str, ...],
    patience: Patience,
    connected: Mapping[str, SiteConnection],
    registered: Mapping[str, SiteRecord],
    now: datetime | None = None,
) -> list[str]:
    """A sentence for each site that the study waits for, and for each expected one whose key is void.

    Args:
        state: where the study stands.
        expected: the sites that were to take part.
        patience: of the study.
        connected: how the sites' nodes stand.
        registered: the list of sites.
        now: the time, for tests.
    """
    now = now or datetime.now(UTC)
    out = {site: reason for site in expected if site in registered and (reason := shut_out(registered[site]))}
    lines = [f"{site}: {reason}; it is not waited for" for site, reason in sorted(out.items())]
    for site, since in sorted(state.absent.items()):
        if site not in out:
            left = _left(patience.gathering, since, now)
            lines.append(
                f"waiting for {site} to connect: {away(connected.get(site), now)}; {left} (strategy.gathering), then "
                f"the study begins without it if {patience.quorum} sites are there (strategy.quorum)"
            )
    for site, since in sorted(state.asked.items()):
        if site not in out:
            lines.append(f"waiting for {site}{_at_work(state, site, since, patience, connected.get(site), now)}")
    return lines


def away(connection: SiteConnection | None, now: datetime | None = None) -> str:
    """Since when a site is away, e.g. ``last seen 4 min ago``."""
    if connection is None:
        return "its key is not known to the server yet"
    if connection.connected:
        return "connected"
    if connection.since is None:
        return "never connected since the server was started"
    return f"last seen {duration(((now or datetime.now(UTC)) - connection.since).total_seconds())} ago"


def _at_work(
    state: ProgressState,
    site: str,
    since: datetime,
    patience: Patience,
    connection: SiteConnection | None,
    now: datetime,
) -> str:
    """E.g. ``, last seen 4 min ago, its node was lost; it is waited for, for 11 min more, deadline in 6 min``."""
    parts, note = [], state.notes.get(site, "")
    if connection is not None and not connection.connected:
        parts.append(away(connection, now))
    if note:
        parts.append(note)
    if note.startswith(LOST):
        parts.append(f"{_left(patience.returning, state.noted[site], now)} (strategy.returning)")
    left = patience.deadline - (now - since).total_seconds()
    if left > 0:
        parts.append(f"deadline in {duration(left)}")
    if parts:
        parts.append(f"then the others go on if they are {patience.quorum} (strategy.quorum)")
    return "".join(f", {part}" for part in parts)


def _left(seconds: float, since: datetime, now: datetime) -> str:
    return f"for {duration(max(0.0, seconds - (now - since).total_seconds()))} more at most"
