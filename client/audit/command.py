"""``oncofed-client audit``: what was asked of this hospital, what ran, what was refused and why, and what left."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from client.audit.hash_chain import Entry
from client.audit.log import AuditError, read_audit
from client.site import load_site
from common.errors import ConfigError
from common.system.outside import quoted, say, say_json

_ACTION = re.compile(r"[a-z]{1,20}\.[a-z_]{1,40}")
"""As ours are named; anything else is a word of whoever asked."""

_OUTCOMES = ("answered", "refused", "failed")


def audit(site: Path, *, as_json: bool = False, since: str | None = None) -> None:
    """Prints the record, one line a message, and checks its chain.

    Args:
        site: the hospital's ``site.yaml``.
        as_json: one JSON object on standard output, and nothing else.
        since: an ISO date or time; entries before it are left out. Without an offset it is UTC.

    Raises:
        ConfigError: if ``site.yaml`` or the date is wrong.
        AuditError: if a line was changed, or the record's end was cut off; what can be relied on is printed before.
    """
    settings = load_site(site)
    begin = _time(since) if since is not None else None
    files = settings.audit_files()
    entries, problem = read_audit(files)
    shown = [entry for entry in entries if begin is None or _time(str(entry.get("time"))) >= begin]
    if as_json:
        say_json({"log": str(files.log), "sound": problem is None, "problem": problem, "entries": shown})
    else:
        for line in lines_of(shown, entries):
            say(line)
        say(f"{len(shown)} of {len(entries)} entries; log: {files.log}, its second hash: {files.head}")
    if problem is not None:
        raise AuditError(
            f"{files.log}: {problem}. The entries before that place are as they were written; those after it cannot be "
            "relied on. Keep both files elsewhere and find out who can write to this folder"
        )
    if not as_json:
        say("The chain is whole: no line was changed, removed or added.")


def lines_of(shown: Sequence[Entry], entries: Sequence[Entry]) -> list[str]:
    """One line for each message and each other event in ``shown``; answers are looked for in all ``entries``."""
    outcomes = {entry.get("message"): entry for entry in entries if entry.get("event") in _OUTCOMES}
    lines = []
    for entry in shown:
        event, time = entry.get("event"), f"{str(entry.get('time'))[:19].replace('T', ' ')} UTC"
        if event in _OUTCOMES:
            continue
        if event == "asked":
            said = _outcome(outcomes.get(entry.get("message")))
            lines.append(f"{time}  {_asked(entry)}: {said}")
        else:
            rest = ", ".join(f"{key} {value}" for key, value in entry.items() if key not in ("event", "time"))
            lines.append(f"{time}  {event}: {rest}")
    return lines


def _asked(entry: Mapping[str, Any]) -> str:
    where = f" (phase {entry['phase']}, round {entry['round']}, run {entry['run']})" if "run" in entry else ""
    action = str(entry.get("action"))
    return f"{action if _ACTION.fullmatch(action) else quoted(action)}{where} from run {entry.get('flower_run')}"


def _outcome(entry: Mapping[str, Any] | None) -> str:
    if entry is None:
        return "not answered, or not yet"
    if entry["event"] == "answered":
        sent = entry.get("sent") or {}
        return "answered, sent " + (", ".join(f"{name} ({size:,} bytes)" for name, size in sent.items()) or "nothing")
    return f"{entry['event']}: {entry.get('reason')}"


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"--since {text}: is no date; write e.g. 2030-01-31 or 2030-01-31T08:00") from error
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)
