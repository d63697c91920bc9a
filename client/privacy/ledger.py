"""The hospital's own account of what its patients' privacy was spent on: written before a step, never after.

One file a site, one JSON line an entry, each with the hash of the line before it. A chain alone cannot show that its
end was cut off, so the newest hash and the number of lines lie in a second file, elsewhere. What neither can show: both
files removed together, and a machine put back to an earlier state as a whole.

Only the standard library is used: the ledger must work where nothing else does.
"""

import json
import math
import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from common.errors import PrivacyError
from common.file_lock import locked
from common.hash_chain import Chain, ChainError, Entry, append_line, parse_chain

Gate = Callable[[Sequence[Mapping[str, Any]], float], None]
"""Looks at all charges and the assumed epsilon, and raises to refuse."""

WAY_OUT = (
    "Nothing is trained until this is settled. Put back both files from one and the same backup, if nothing was "
    "trained since; otherwise `oncofed-client budget SITE.yaml --reopen REASON` starts a new ledger that counts the "
    "whole budget as spent (see docs/privacy.md, When the ledger is refused)."
)


class LedgerError(PrivacyError):
    """The ledger is not what it was when it was last written."""


@dataclass(frozen=True)
class LedgerFiles:
    """Where a ledger lies.

    Attributes:
        ledger: the entries.
        head: the second copy of the newest hash; on another disk if there is one.
    """

    ledger: Path
    head: Path

    @property
    def lock(self) -> Path:
        """Held while the ledger is read or written."""
        return self.ledger.with_suffix(".lock")


class Ledger:
    """The entries of one site.

    Args:
        files: where it lies; it is begun where neither file is there.
        site: name of the site, which its first line states.

    Raises:
        LedgerError: if it is not what it was when it was last written; the text names the file and the way out.
    """

    def __init__(self, files: LedgerFiles, site: str) -> None:
        self.files = files
        self.site = site
        self._lines = Chain()
        self._seen: tuple[int, ...] | None = None
        with self._locked():
            self._refresh()

    def entries(self) -> list[Entry]:
        """Every charge, the oldest first."""
        with self._locked():
            self._refresh()
            return [dict(entry) for entry in self._lines.entries[1:]]

    @property
    def assumed_epsilon(self) -> float:
        """What counts as spent before the first entry: the whole budget, where a ledger had to be begun anew."""
        with self._locked():
            self._refresh()
            return self._assumed()

    def _assumed(self) -> float:
        assumed = self._lines.entries[0].get("assumed_epsilon", 0.0)
        # Not a number would be below every cap.
        if isinstance(assumed, bool) or not isinstance(assumed, int | float) or not 0 <= assumed < math.inf:
            raise LedgerError(f"{self.files.ledger}: assumes {assumed!r} as spent, which is no epsilon. {WAY_OUT}")
        return float(assumed)

    def charge(self, entry: Mapping[str, str | float | int], gate: Gate) -> None:
        """Writes ``entry`` down for good; when this returns, it is on the disk.

        Args:
            entry: what is paid for.
            gate: called with all charges, this one last, and the assumed epsilon; whatever it raises, nothing is
                written.

        Raises:
            LedgerError: as at the start, or if it cannot be written; then the step must not be taken.
        """
        with self._locked():
            self._refresh()
            made = {**entry, "time": _now()}
            gate([*self._lines.entries[1:], made], self._assumed())
            self._append(made)

    def reopen(self, reason: str, assumed_epsilon: float) -> Path:
        """Begins a new ledger in place of one that cannot be relied on, and keeps the old files beside it.

        Args:
            reason: for those who read the ledger later.
            assumed_epsilon: counts as spent, on top of all that comes.

        Returns:
            The folder that the old files were moved to.
        """
        with self._locked():
            return _reopen(self, reason, assumed_epsilon)

    # ------------------------------------------------------------------ reading

    def _refresh(self) -> None:
        """Reads and checks the files if they changed since this object last saw them."""
        seen = self._state()
        if seen is not None and seen == self._seen:
            return
        self._lines = self._read()
        self._seen = self._state()

    def _state(self) -> tuple[int, ...] | None:
        try:
            states = [os.stat(file) for file in (self.files.ledger, self.files.head)]
        except OSError:
            return None
        # The time of the last change of the inode as well: unlike the others, it cannot be set by hand.
        return tuple(v for s in states for v in (s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns))

    def _read(self) -> Chain:
        ledger, head = self.files.ledger, self.files.head
        there = ledger.exists(), head.exists()
        if there == (False, False):
            self._begin({})
        elif there == (True, False) and _only_begun(ledger):
            # The very first write was cut off between the two files.
            pass
        elif not all(there):
            missing, other = (ledger, head) if not there[0] else (head, ledger)
            raise LedgerError(f"{missing}: is gone, while {other} is there. {WAY_OUT}")
        lines, torn = _parse(ledger)
        if not there[1] and there[0]:
            self._write_head(lines)
        known = _read_head(head)
        self._compare(lines, known, torn)
        if torn or lines.count > known["count"]:
            self._settle(lines, known, torn)
        return lines

    def _compare(self, lines: Chain, known: Mapping[str, Any], torn: bool) -> None:
        ledger, head = self.files.ledger, self.files.head
        first = lines.entries[0]
        if first.get("site") != self.site:
            raise LedgerError(f"{ledger}: belongs to the site {first.get('site')!r}, not to {self.site!r}. {WAY_OUT}")
        if known.get("id") != first.get("id"):
            raise LedgerError(f"{ledger} and {head} belong to different ledgers. {WAY_OUT}")
        count = known["count"]
        if lines.count < count:
            raise LedgerError(
                f"{ledger}: holds {lines.count} lines, and {head} knows of {count}: its end was cut off. {WAY_OUT}"
            )
        if lines.hashes[count - 1] != known["hash"]:
            raise LedgerError(f"{ledger}: line {count} is not the one that {head} knows. {WAY_OUT}")
        if lines.count > count + 1 or (torn and lines.count > count):
            raise LedgerError(f"{ledger}: has lines that {head} does not know. {WAY_OUT}")

    def _settle(self, lines: Chain, known: Mapping[str, Any], torn: bool) -> None:
        """After a crash in the middle of a charge: a whole line counts, half a line is taken away.

        The step that it would have paid for was not taken: that waits until both files are written.
        """
        if torn:
            _replace(self.files.ledger, b"".join(lines.raw))
        if lines.count > known["count"]:
            self._write_head(lines)

    # ------------------------------------------------------------------ writing

    def _begin(self, extra: Mapping[str, Any]) -> None:
        entry = {"site": self.site, "id": uuid.uuid4().hex, "begun": _now(), **extra}
        lines = Chain()
        lines.add(entry)
        for file in (self.files.ledger, self.files.head):
            file.parent.mkdir(parents=True, exist_ok=True)
        _replace(self.files.ledger, lines.raw[-1])
        self._write_head(lines)

    def _append(self, entry: Entry) -> None:
        append_line(self.files.ledger, self._lines.line(entry))
        self._lines.add(entry)
        self._write_head(self._lines)
        self._seen = self._state()

    def _write_head(self, lines: Chain) -> None:
        first = lines.entries[0]
        head = {"site": self.site, "id": first["id"], "count": lines.count, "hash": lines.hashes[-1]}
        _replace(self.files.head, (json.dumps(head) + "\n").encode())

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Holds the lock; what the disk refuses meanwhile is told as an error of the ledger."""
        try:
            self.files.lock.parent.mkdir(parents=True, exist_ok=True)
            with locked(self.files.lock):
                yield
        except OSError as error:
            file = error.filename or self.files.ledger
            raise LedgerError(
                f"{file}: the privacy ledger cannot be read or written ({error.strerror or error}). Nothing is trained "
                "that cannot be written down: make room on the disk, or let this user write there, and start again."
            ) from error


def _parse(file: Path) -> tuple[Chain, bool]:
    """The chain in ``file``, and whether half a line follows it.

    Raises:
        LedgerError: for a line that is not what the chain says.
    """
    try:
        lines, torn = parse_chain(file.read_bytes())
    except OSError as error:
        raise LedgerError(f"{file}: cannot be read ({error.strerror}). {WAY_OUT}") from error
    except ChainError as error:
        raise LedgerError(f"{file}: {error}. {WAY_OUT}") from error
    if not lines.count:
        raise LedgerError(f"{file}: is empty. {WAY_OUT}")
    return lines, torn


def _only_begun(file: Path) -> bool:
    lines, torn = _parse(file)
    return lines.count == 1 and not torn


def _read_head(file: Path) -> Mapping[str, Any]:
    try:
        head = json.loads(file.read_text())
        known: dict[str, Any] = {"id": str(head["id"]), "count": int(head["count"]), "hash": str(head["hash"])}
    except OSError as error:
        raise LedgerError(f"{file}: cannot be read ({error.strerror}). {WAY_OUT}") from error
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
        raise LedgerError(f"{file}: is not the head of a ledger. {WAY_OUT}") from error
    if known["count"] < 1:
        raise LedgerError(f"{file}: is not the head of a ledger. {WAY_OUT}")
    return known


def _reopen(ledger: Ledger, reason: str, assumed_epsilon: float) -> Path:
    files = ledger.files
    aside = files.ledger.parent / f"until-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
    aside.mkdir(parents=True)
    for file in (files.ledger, files.head):
        if file.exists():
            # Copies first: with one file moved and not the other, the ledger would be refused all the same.
            _replace(aside / file.name, file.read_bytes())
    # The old files are written over, never removed first: after a crash in between, a ledger that is gone altogether
    # would count as a new one with nothing spent.
    ledger._begin({"reopened": reason, "assumed_epsilon": assumed_epsilon})
    ledger._lines = _parse(files.ledger)[0]
    ledger._seen = ledger._state()
    return aside


def reopen_ledger(files: LedgerFiles, site: str, reason: str, assumed_epsilon: float) -> Path:
    """:meth:`Ledger.reopen` for a ledger that cannot even be opened; returns the folder that keeps the old files."""
    ledger = Ledger.__new__(Ledger)
    ledger.files, ledger.site, ledger._lines, ledger._seen = files, site, Chain(), None
    return ledger.reopen(reason, assumed_epsilon)


def _replace(file: Path, data: bytes) -> None:
    """Writes a file so that at any moment either the old or the new one is there, and waits for the disk."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, file)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
