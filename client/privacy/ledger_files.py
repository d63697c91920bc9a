"""The two files of a privacy ledger: where they lie and how they are read.

Only the standard library is used: the ledger must work where nothing else does.
"""

import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from client.audit.hash_chain import Chain, ChainError, Entry, parse_chain
from common.errors import PrivacyError
from common.system.file_lock import locked
from common.system.private_files import write_private

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
        shared: whether other nodes of the hospital may charge it too; otherwise it is one site's alone.
    """

    ledger: Path
    head: Path
    shared: bool = False

    @property
    def lock(self) -> Path:
        """Held while the ledger is read or written."""
        return self.ledger.with_suffix(".lock")

    @property
    def refused(self) -> Path:
        """What was found against this ledger (:mod:`client.privacy.objections`)."""
        return self.ledger.with_name("refused.json")

    @property
    def key(self) -> Path:
        """The key that the coordinator's copies are signed with (:mod:`client.privacy.coordinators_copy`)."""
        return self.ledger.with_name("witness.key")


@contextmanager
def held(files: LedgerFiles) -> Iterator[None]:
    """Holds the lock of a ledger; what the disk refuses meanwhile becomes a :class:`LedgerError`."""
    try:
        files.lock.parent.mkdir(parents=True, exist_ok=True)
        with locked(files.lock):
            yield
    except OSError as error:
        file = error.filename or files.ledger
        raise LedgerError(
            f"{file}: the privacy ledger cannot be read or written ({error.strerror or error}). Nothing is trained "
            "that cannot be written down: make room on the disk, or let this user write there, and start again."
        ) from error


def begin_ledger(files: LedgerFiles, site: str, extra: Mapping[str, Any]) -> None:
    """Writes a ledger of one line, which states the site and ``extra``, over whatever is there."""
    lines = Chain()
    lines.add({"site": site, "id": uuid.uuid4().hex, "begun": now(), **extra})
    for file in (files.ledger, files.head):
        file.parent.mkdir(parents=True, exist_ok=True)
    write_private(files.ledger, lines.raw[-1], replace=True)
    write_head(files, site, lines)


def write_head(files: LedgerFiles, site: str, lines: Chain) -> None:
    """Writes the second copy of the newest hash."""
    head = {"site": site, "id": lines.entries[0]["id"], "count": lines.count, "hash": lines.hashes[-1]}
    write_private(files.head, (json.dumps(head) + "\n").encode(), replace=True)


def now() -> str:
    """The time that an entry states."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def parse_ledger(file: Path) -> tuple[Chain, bool]:
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


def only_begun(file: Path) -> bool:
    """Whether ``file`` holds the first line of a ledger and nothing else."""
    lines, torn = parse_ledger(file)
    return lines.count == 1 and not torn


def read_head(file: Path) -> Mapping[str, Any]:
    """The second copy of the newest hash: ``id``, ``count`` and ``hash``.

    Raises:
        LedgerError: if it is none.
    """
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


def first_line(file: Path) -> Entry | None:
    """The first entry of a ledger that is perhaps damaged further down; None where even that cannot be read."""
    try:
        with file.open("rb") as stream:
            entry = json.loads(stream.readline())["entry"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return entry if isinstance(entry, dict) else None
