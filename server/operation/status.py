"""``oncofed-server status``: sites, studies, and whom they wait for."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from common.errors import ConfigError
from common.system.outside import say, say_json
from server.operation.connections import SiteConnection, connections
from server.operation.flower_home import FlowerHome
from server.operation.progress_state import ProgressState, progress_state
from server.operation.studies import StartedStudy, started_studies
from server.operation.study_files import Patience, patience_of, quarantined_in
from server.operation.superlink import answers
from server.operation.waiting import away, waiting_lines
from server.progress_log import ProgressReader
from server.provision.federation import load_federation
from server.provision.provision import Places
from server.provision.registry import SiteRecord
from server.run_lock import is_running
from server.schedule import duration
from server.shut_out import shut_out


@dataclass(frozen=True)
class StudyStatus:
    """One study for the screen.

    Attributes:
        study: as it was started.
        running: whether a process works on it.
        state: from its progress.
        quarantined: studies left out, by site, for the sites that tell.
        patience: how long it waits for sites.
    """

    study: StartedStudy
    running: bool
    state: ProgressState
    quarantined: dict[str, int]
    patience: Patience


def status_command(file: Path, places: Places, *, studies: int = 3, as_json: bool = False) -> None:
    """Prints how the federation stands.

    Args:
        studies: how many of the newest are shown.
        as_json: one JSON object and nothing else.

    Raises:
        ConfigError: for fewer than none.
    """
    if studies < 0:
        raise ConfigError(f"--studies {studies}: how many of the newest, 0 or more")
    settings = load_federation(file)
    home = FlowerHome(places, settings.serve.superlink)
    serving = home.authority.exists() and answers(home)
    connected = connections(home) if serving else {}
    registry = places.registry.read()
    sites = {site: (record.state, connected.get(site)) for site, record in sorted(registry.sites.items())}
    known = started_studies(places)
    shown = [_study(one) for one in known[max(0, len(known) - studies) :]]
    if as_json:
        say_json(_as_json(serving, sites, shown), indent=1)
        return
    say(f"{settings.name} at {settings.address}: {'served' if serving else 'NOT served; oncofed-server start'}")
    width = max((len(site) for site in sites), default=0)
    for site, (state, connection) in sites.items():
        told = shut_out(registry.sites[site]) or _connection(state, connection, serving)
        say(f"  {site:{width}}  {state:8}  {told}".rstrip())
    for one in shown:
        say()
        say(*_lines(one, connected, registry.sites))


def _study(one: StartedStudy) -> StudyStatus:
    state = progress_state(ProgressReader(one.folder).new())
    patience = patience_of(one.folder)
    return StudyStatus(one, is_running(one.folder), state, quarantined_in(one.folder), patience)


def _lines(
    one: StudyStatus, connected: Mapping[str, SiteConnection], registered: Mapping[str, SiteRecord]
) -> list[str]:
    state, schedule = one.state, one.state.schedule
    lines = [f"{one.study.folder.name}  {one.state.in_words(running=one.running)}  {one.study.folder}"]
    if state.began is not None and schedule.name:
        left = schedule.seconds_left()
        parts = [f"{schedule.name}: round {schedule.rounds_done} of {schedule.rounds} done"]
        if state.contributors:
            parts.append(f"with {', '.join(state.contributors)}")
        if left and one.running:
            parts.append(f"about {duration(left)} left")
        lines.append(f"  {'; '.join(parts)}")
    if one.running:
        told = waiting_lines(state, one.study.expected, one.patience, connected, registered)
        lines += [f"  {line}" for line in told]
    for site, note in sorted(state.notes.items()):
        if site not in state.asked:
            lines.append(f"  {site}: {note}")
    for site, count in sorted(one.quarantined.items()):
        lines.append(f"  {site}: {count} studies in quarantine")
    return lines


def _connection(state: str, connection: SiteConnection | None, serving: bool) -> str:
    if state != "enrolled" or not serving:
        return ""
    if connection is None:
        return "its key is not known to the server yet"
    if connection.connected:
        since = connection.since
        ago = f" for {duration((datetime.now(UTC) - since).total_seconds())}" if since is not None else ""
        return f"connected{ago}"
    return f"not connected, {away(connection)}" if connection.since is not None else away(connection)


def _as_json(
    serving: bool, sites: Mapping[str, tuple[str, SiteConnection | None]], shown: list[StudyStatus]
) -> dict[str, Any]:
    return {
        "serving": serving,
        "sites": {
            site: {
                "state": state,
                "connected": connection.connected if connection is not None else None,
                "since": connection.since.isoformat() if connection is not None and connection.since else None,
            }
            for site, (state, connection) in sites.items()
        },
        "studies": [
            {
                "folder": str(one.study.folder),
                "where": one.state.in_words(running=one.running),
                "phase": one.state.schedule.name,
                "round": one.state.schedule.rounds_done,
                "rounds": one.state.schedule.rounds,
                "seconds_left": one.state.schedule.seconds_left() if one.running else None,
                "waiting_for": sorted({*one.state.asked, *one.state.absent}) if one.running else [],
                "quarantined": one.quarantined,
            }
            for one in shown
        ],
    }
