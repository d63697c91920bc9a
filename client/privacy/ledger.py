"""The hospital's own account of what its patients' privacy was spent on: written before a step, never after.

One JSON line an entry, each with the hash of the line before it. A chain alone cannot show that its end was cut off, so
the newest hash and the number of lines lie in a second file, elsewhere. What neither can show, both files put back or
removed together, is what witnesses are for (:mod:`client.privacy.witness`).

A site has a ledger of its own, or all nodes of a hospital share one: every entry says which node it is of, and the gate
sees those of all.

Only the standard library is used: the ledger must work where nothing else does.
"""

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from client.audit.hash_chain import Chain, Entry, append_line
from client.privacy.ledger_files import (
    WAY_OUT,
    LedgerError,
    LedgerFiles,
    begin_ledger,
    first_line,
    held,
    now,
    only_begun,
    parse_ledger,
    read_head,
    write_head,
)
from common.system.private_files import write_private

Gate = Callable[[Sequence[Mapping[str, Any]], float], None]
"""Looks at all charges and the assumed epsilon, and raises to refuse."""

__all__ = ["WAY_OUT", "Gate", "Ledger", "LedgerError", "LedgerFiles"]


class Ledger:
    """The entries of one site, or of all nodes of a hospital that share them.

    Args:
        files: where it lies; it is begun where neither file is there.
        site: name of the site that charges, which the first line of a ledger of its own states.
        node: its random number (:mod:`client.privacy.node_id`), which its charges state.

    Raises:
        LedgerError: if it is not what it was when it was last written; the text names the file and the way out.
    """

    def __init__(self, files: LedgerFiles, site: str, node: str = "") -> None:
        self.files = files
        self.site = site
        self.node = node
        self._lines = Chain()
        self._seen: tuple[int, ...] | None = None
        with self._current():
            pass

    def entries(self) -> list[Entry]:
        """Every charge, the oldest first."""
        with self._current():
            return [dict(entry) for entry in self._lines.entries[1:]]

    @property
    def assumed_epsilon(self) -> float:
        """What counts as spent before the first entry: the whole budget, where a ledger had to be begun anew."""
        with self._current():
            return self._assumed()

    @property
    def first(self) -> Entry:
        """The line that it was begun with."""
        with self._current():
            return dict(self._lines.entries[0])

    @property
    def id(self) -> str:
        """The random number that it was begun with."""
        return str(self.first.get("id"))

    @property
    def times_assumed(self) -> int:
        """How many times a whole budget was counted as spent; each adds a delta to the one that is shown."""
        return _times(self.first)

    def replaces(self) -> frozenset[str]:
        """The ids of the ledgers in whose place this one was begun, as far as they could be read then."""
        return _replaced(self.first)

    def may_replace(self, ledger_id: str) -> bool:
        """Whether it was begun in place of that ledger, or of one that could no longer be read."""
        first = self.first
        return "reopened" in first and (ledger_id in self.replaces() or first.get("unread", True) is not False)

    def hashes_of(self, node: str) -> list[str]:
        """The hash of each line that ``node`` charged, the oldest first."""
        with self._current():
            pairs = zip(self._lines.entries[1:], self._lines.hashes[1:], strict=True)
            return [hash_ for entry, hash_ in pairs if entry.get("node") == node]

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
        with self._current():
            made = {**entry, "site": self.site, "node": self.node, "time": now()}
            gate([*self._lines.entries[1:], made], self._assumed())
            self._append(made)

    @classmethod
    def reopen(
        cls, files: LedgerFiles, site: str, reason: str, assumed_epsilon: float, replaces: Iterable[str] = ()
    ) -> Path:
        """Begins a new ledger in place of one that cannot be relied on, and keeps the old files beside it.

        Args:
            files: where it lies; what they hold need not be readable.
            site: name of the site that begins it.
            reason: for those who read the ledger later.
            assumed_epsilon: counts as spent, on top of all that comes.
            replaces: ids of ledgers that witnesses know of, beside those that the old files name.

        Returns:
            The folder that the old files were copied to.

        Raises:
            LedgerError: if the files cannot be written.
        """
        with held(files):
            old = first_line(files.ledger) if files.ledger.exists() else None
            known = {str(one) for one in replaces}
            if old is not None:
                known |= {str(old.get("id")), *_replaced(old)}
            with suppress(LedgerError):
                known.add(str(read_head(files.head)["id"]))
            aside = files.ledger.parent / f"until-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
            aside.mkdir(parents=True)
            for file in (files.ledger, files.head):
                if file.exists():
                    # Copies first: with one file moved and not the other, the ledger would be refused all the same.
                    write_private(aside / file.name, file.read_bytes(), replace=True)
            first = {
                "reopened": reason,
                "assumed_epsilon": assumed_epsilon,
                "replaces": sorted(known),
                # Then witnesses of any ledger are taken for witnesses of the old one: it counts as spent either way.
                "unread": old is None or ("reopened" in old and old.get("unread", True) is not False),
                "times": max(len(list(files.ledger.parent.glob("until-*"))), (_times(old) if old else 0) + 1),
            }
            # The old files are written over, never removed first: after a crash in between, a ledger that is gone
            # altogether would count as a new one with nothing spent.
            begin_ledger(files, site, first)
            files.refused.unlink(missing_ok=True)
        return aside

    # ------------------------------------------------------------------ reading

    @contextmanager
    def _current(self) -> Iterator[None]:
        """Holds the lock; the lines are those of the files."""
        with held(self.files):
            self._refresh()
            yield

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
            begin_ledger(self.files, self.site, {})
        elif there == (True, False) and only_begun(ledger):
            # The very first write was cut off between the two files.
            pass
        elif not all(there):
            missing, other = (ledger, head) if not there[0] else (head, ledger)
            raise LedgerError(f"{missing}: is gone, while {other} is there. {WAY_OUT}")
        lines, torn = parse_ledger(ledger)
        if not there[1] and there[0]:
            write_head(self.files, self.site, lines)
        known = read_head(head)
        self._compare(lines, known, torn)
        if torn or lines.count > known["count"]:
            self._settle(lines, known, torn)
        return lines

    def _compare(self, lines: Chain, known: Mapping[str, Any], torn: bool) -> None:
        ledger, head = self.files.ledger, self.files.head
        first = lines.entries[0]
        if first.get("site") != self.site and not self.files.shared:
            raise LedgerError(
                f"{ledger}: belongs to the site {first.get('site')!r}, not to {self.site!r}. If both are of one "
                "hospital, set `privacy.folder` in the site.yaml of both: it may then be shared. " + WAY_OUT
            )
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
            write_private(self.files.ledger, b"".join(lines.raw), replace=True)
        if lines.count > known["count"]:
            write_head(self.files, self.site, lines)

    # ------------------------------------------------------------------ writing

    def _append(self, entry: Entry) -> None:
        append_line(self.files.ledger, self._lines.line(entry))
        self._lines.add(entry)
        write_head(self.files, self.site, self._lines)
        self._seen = self._state()


def _times(first: Mapping[str, Any]) -> int:
    # A ledger that was begun anew before this was counted was begun anew once at least.
    times = first.get("times", 1 if "reopened" in first else 0)
    return times if type(times) is int and times >= 0 else 1


def _replaced(first: Mapping[str, Any]) -> frozenset[str]:
    named = first.get("replaces")
    return frozenset(map(str, named)) if isinstance(named, list) else frozenset()
