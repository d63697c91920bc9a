"""``oncofed-server follow``: a study that runs, shown until it ends, and its report."""

import time
from pathlib import Path

from common.errors import StudyError
from common.study.progress import ABSENT, Event, StudyProgress
from common.system.outside import say
from server.operation.connections import connections
from server.operation.flower_home import FlowerHome
from server.operation.studies import study_meant
from server.operation.waiting import away
from server.progress_log import ProgressReader
from server.provision.federation import load_federation
from server.provision.provision import Places
from server.report.build import build_study_report
from server.run_lock import is_running
from server.terminal_progress import terminal_progress

BEGINS_WITHIN = 180.0
"""Seconds from the hand-over to the study's first sign of life."""


def follow_command(file: Path, places: Places, folder: Path | None) -> None:
    """Shows a study from its beginning until it ends."""
    study = study_meant(places, folder)
    home = FlowerHome(places, load_federation(file).serve.superlink)
    follow(study.folder, ProgressReader(study.folder), file, home)


def follow(folder: Path, reader: ProgressReader, file: Path, home: FlowerHome) -> None:
    """Shows a study from where ``reader`` stands until it ends; then its report is written.

    Raises:
        StudyError: if it stops, saying why and how it goes on.
    """
    progress = terminal_progress()
    try:
        end = _until_the_end(folder, reader, progress, home)
    except KeyboardInterrupt:
        progress.close()
        say(f"the study goes on; see it with oncofed-server follow {file} --run {folder}")
        raise
    finally:
        progress.close()
    if end is None or end.name == "stopping":
        reason = end.values.get("reason") if end is not None else "stopped without a word, killed perhaps"
        raise StudyError(f"{folder.name}: {reason}; go on with oncofed-server run {file} --resume {folder}")
    if end.name == "failed":
        raise StudyError(f"{folder.name}: {end.values.get('reason')}")
    say(f"report: {build_study_report(folder)}")


def _until_the_end(folder: Path, reader: ProgressReader, progress: StudyProgress, home: FlowerHome) -> Event | None:
    """Shows what happens; returns how it ended, or None if its process is gone without having said so."""
    handed_over, began, silent_since = time.monotonic(), False, None
    last: Event | None = None
    while True:
        absent: list[str] = []
        for event in reader.new():
            progress.take(event)
            absent = _absent_after(absent, event)
            began = began or event.name == "began"
            last = _end_after(last, event)
        if absent and is_running(folder):
            _tell_away(home, absent, progress)
        if last is not None and not is_running(folder):
            return last
        if is_running(folder):
            silent_since = None
        elif began:
            silent_since = silent_since or time.monotonic()
            # The process holds its lock from shortly after its first word to shortly before its last.
            if time.monotonic() - silent_since > 5:
                return last
        elif time.monotonic() - handed_over > BEGINS_WITHIN:
            raise StudyError(
                f"{folder}: the study has not begun after {BEGINS_WITHIN:.0f} s: another one may run before it, or the "
                "server's superlink.log says why"
            )
        time.sleep(0.5)


def _end_after(last: Event | None, event: Event) -> Event | None:
    """How the study ends by what was told so far. Who stopped it says why; what it says itself comes of that."""
    match event.name:
        case "began" | "goes_on":
            # A study that was resumed has earlier ends.
            return None
        case "stopping" | "finished":
            return event
        case "failed":
            return last if last is not None and last.name == "stopping" else event
    return last


def _absent_after(absent: list[str], event: Event) -> list[str]:
    """The sites that a study waits for at its beginning, until it begins."""
    if event.name != "site":
        return [] if event.name in ("began", "phase") else absent
    site = event.values.get("name", "")
    return [one for one in absent if one != site] + ([site] if event.values.get("doing") == ABSENT else [])


def _tell_away(home: FlowerHome, sites: list[str], progress: StudyProgress) -> None:
    """Says of each site since when it is away, which the study itself does not know."""
    known = connections(home)
    for site in sites:
        progress.message(f"{site}: {away(known.get(site))}")
