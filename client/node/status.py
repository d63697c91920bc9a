"""``oncofed-client status``: whether this site's node runs and is well, and what studies had it do."""

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC
from pathlib import Path
from typing import Any

from client.approval.allow_list import approvals
from client.audit.hash_chain import Entry
from client.audit.log import read_audit
from client.enrolment.connection import load_connection
from client.health.service import NODE, ask_health, identity
from client.node.start import STATE
from client.site import SiteSettings, load_site
from common.errors import ConfigError, DamagedFileError
from common.system.file_lock import is_held
from common.system.files import read_table
from common.system.outside import say, say_json

_OUTCOMES = ("answered", "refused", "failed")


@dataclass
class StudySeen:
    """What the record says of one study.

    Attributes:
        run: its name, as the coordinator gave it.
        last: time of the last message.
        doing: what that asked for, e.g. ``train.gan, gan/cgan, round 3``.
        working: whether the last message has no outcome yet.
        answered, refused, failed: messages.
    """

    run: str
    last: str = ""
    doing: str = ""
    working: bool = False
    answered: int = 0
    refused: int = 0
    failed: int = 0


def status(site: Path, *, as_json: bool = False) -> None:
    """Prints how this site stands; nothing is asked of the coordinator.

    Args:
        site: the hospital's ``site.yaml``.
        as_json: one JSON object on standard output, and nothing else.
    """
    settings = load_site(site)
    whose = identity(settings)
    running = ask_health(settings.health_port, NODE, whose=whose) is None
    well = (
        {name: ask_health(settings.health_port, name, whose=whose) for name in ("superlink", "data", "budget")}
        if running
        else {}
    )
    entries, problem = read_audit(settings.audit_files())
    seen = studies_seen(entries)
    # A node that is stopped works on nothing, whatever it had begun.
    for study in seen:
        study.working = study.working and running
    if as_json:
        say_json(_as_json(settings, running, well, seen, problem), indent=1)
        return
    say(f"{settings.name}{_joined(site)}")
    say(f"  node        {'runs' if running else _not_running(site, settings)}")
    for name, what in (("superlink", "coordinator"), ("data", "data"), ("budget", "budget")):
        if name in well:
            say(f"  {what:11} {well[name] or 'well'}")
    say(f"  bundles     the installed release, and {len(approvals(settings))} approved by hand")
    say(f"  disk        {_free(settings.folder)}")
    say(f"  record      {problem or f'{len(entries)} entries, whole'}")
    for study in seen[-5:]:
        counts = [f"{count} {what}" for what in _OUTCOMES if (count := getattr(study, what))]
        doing = "works on" if study.working else "last"
        say(f"  study       {study.run}: {doing} {study.doing}, {study.last[:19].replace('T', ' ')} UTC")
        say(f"              messages: {', '.join(counts) or 'none answered yet'}; report: {_report(settings, study)}")


def studies_seen(entries: Sequence[Entry]) -> list[StudySeen]:
    """The studies in a record, that with the newest message last."""
    studies: dict[str, StudySeen] = {}
    asked: dict[str, str] = {}
    for entry in entries:
        event = entry.get("event")
        if event == "asked" and "run" in entry:
            run = str(entry["run"])
            asked[str(entry.get("message"))] = run
            study = studies.pop(run, None) or StudySeen(run)
            studies[run] = study
            study.last = str(entry.get("time"))
            study.doing = f"{entry.get('action')}, {entry.get('phase')}, round {entry.get('round')}"
            study.working = True
        elif event in _OUTCOMES and (run := asked.get(str(entry.get("message")), "")) in studies:
            study = studies[run]
            study.working = False
            setattr(study, str(event), getattr(study, str(event)) + 1)
    return list(studies.values())


def _not_running(site: Path, settings: SiteSettings) -> str:
    """Stopped, or started and not connected: then why."""
    if not is_held(settings.folder / "start.lock"):
        return f"does not run; oncofed-client start {site}"
    try:
        last = read_table(settings.folder / STATE)
    except (FileNotFoundError, DamagedFileError):
        return "is being started"
    cause = f": {last['cause']}" if last.get("cause") else ""
    return f"is started again and again; it ended last at {last.get('ended')}{cause}"


def _joined(site: Path) -> str:
    try:
        connection = load_connection(site.resolve().parent)
    except ConfigError:
        return ": has not joined a federation yet; oncofed-client init KIT.zip"
    return (
        f": {connection.federation} at {connection.address}, joined {connection.enrolled.astimezone(UTC):%Y-%m-%d} UTC"
    )


def _free(folder: Path) -> str:
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    return f"{shutil.disk_usage(there).free / 1e9:.0f} GB free"


def _report(settings: SiteSettings, study: StudySeen) -> str:
    folder = settings.run_folder(study.run)
    return f"oncofed-client report {folder}" if folder.is_dir() else "nothing to report"


def _as_json(
    settings: SiteSettings, running: bool, well: dict[str, str | None], seen: list[StudySeen], problem: str | None
) -> dict[str, Any]:
    return {
        "site": settings.name,
        "running": running,
        "services": {name: {"well": reason is None, "reason": reason} for name, reason in well.items()},
        "record": {"sound": problem is None, "problem": problem},
        "studies": [asdict(study) for study in seen],
    }
