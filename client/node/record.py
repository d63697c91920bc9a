"""What a site's record says while its node runs: what it was asked for, and what came of that, in a sentence each."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from common.system.outside import printable

_MOST_OPEN = 1_000
"""Messages without an outcome that are remembered; a node works on one at a time."""


class RecordTail:
    """Follows an audit log from where it ends now.

    Args:
        file: the log.
        say: is given a sentence.
    """

    def __init__(self, file: Path, say: Callable[[str], None]) -> None:
        self._file = file
        self._say = say
        self._position = file.stat().st_size if file.exists() else 0
        self._open: dict[str, str] = {}

    def follow(self) -> None:
        """Tells what has been written since the last call. Whether the log is sound is not asked here."""
        for line in self._new_lines():
            try:
                entry = json.loads(line)["entry"]
                event, message = entry["event"], str(entry.get("message"))
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                continue
            if event == "asked":
                self._open[message] = str(entry.get("action"))
                while len(self._open) > _MOST_OPEN:
                    del self._open[next(iter(self._open))]
                self._tell(f"asked: {entry.get('action')}{_of_study(entry)}")
            elif event in ("answered", "refused", "failed"):
                self._tell(f"{event}: {self._open.pop(message, 'a message')}, {_outcome(entry)}")

    def _tell(self, sentence: str) -> None:
        self._say(printable(sentence, 500))

    def _new_lines(self) -> list[bytes]:
        """Whole lines only; a log that was begun anew is read from its beginning."""
        try:
            with self._file.open("rb") as file:
                if file.seek(0, os.SEEK_END) < self._position:
                    self._position = 0
                file.seek(self._position)
                data = file.read()
        except OSError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._position += len(whole)
        return whole.splitlines()


def _of_study(entry: Mapping[str, Any]) -> str:
    return f" ({entry['phase']}, round {entry.get('round')}, study {entry.get('run')})" if "phase" in entry else ""


def _outcome(entry: Mapping[str, Any]) -> str:
    if entry["event"] != "answered":
        return str(entry.get("reason"))
    sent = entry.get("sent")
    records = [f"{name} ({size:,} bytes)" for name, size in sent.items()] if isinstance(sent, dict) else []
    return f"sent {', '.join(records) or 'nothing'}"
