"""The hospital's record of what others asked of it: what ran, what was refused and why, and what left, and when.

One file a site, one JSON line an entry, each with the hash of the line before it; the newest hash and the number of
lines also lie in a second file beside the site's folder, so that a cut-off end shows. It holds names, sizes and
reasons, never what was in a message. What cannot be written down is not done: see :meth:`AuditLog.write`.

Only the standard library is used: a record must be kept where nothing else works.
"""

import errno
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from client.audit.hash_chain import Chain, ChainError, Entry, Link, append_line, link_after, parse_chain
from common.errors import OncofedError
from common.system.file_lock import locked

_LONGEST_TEXT = 200
_LONGEST_LINE = 65_536
"""Bytes; longer than any line with the texts above can be, and read to find the newest line."""
_HEAD_BYTES = 128
_SECONDS_UNFLUSHED = 1.0
"""What a power cut, and nothing else, can take away at the most."""


class AuditError(OncofedError):
    """The audit log cannot be written, so that nothing may be answered. Its text stays at the site."""


@dataclass(frozen=True)
class AuditFiles:
    """Where an audit log lies.

    Attributes:
        log: the entries.
        head: the second copy of the newest hash.
    """

    log: Path
    head: Path


class AuditLog:
    """The record of one site; processes that write at once wait for each other.

    Args:
        files: where it lies; it is begun with the first entry.
    """

    def __init__(self, files: AuditFiles) -> None:
        self.files = files
        self._flushed = -_SECONDS_UNFLUSHED

    def write(self, event: str, *, flush: bool = True, **fields: object) -> None:
        """Adds an entry.

        Args:
            event: ``asked``, ``answered``, ``refused``, ``failed``, …
            flush: wait until the disk has it, unless that was done within the last second: a site that is asked for
                every step of a training would else wait longer than it works. An entry that another one follows at
                once need not be waited for.
            fields: texts, numbers and mappings of them. Texts are cut to 200 characters: others choose some of them.

        Raises:
            AuditError: if it cannot be written, e.g. because the disk is full, or if the newest line is not one of a
                chain. What it was about must then not be done.
        """
        entry = {"event": event, "time": _now(), **{key: _cut(value) for key, value in fields.items()}}
        flush = flush and time.monotonic() - self._flushed >= _SECONDS_UNFLUSHED
        with self._locked():
            link, odd = self._end()
            if odd is not None:
                # Not refused for ever, but kept for ever: the entry stands in the chain for those who read it.
                link = self._append(link, {"event": "noticed", "time": _now(), "reason": odd}, flush=False)
            self._append(link, entry, flush=flush)
        if flush:
            self._flushed = time.monotonic()

    def _append(self, link: Link, entry: Entry, *, flush: bool) -> Link:
        line = link.line(entry)
        append_line(self.files.log, line, flush=flush)
        after = link.after(line)
        _write_head(self.files.head, after)
        return after

    def _end(self) -> tuple[Link, str | None]:
        """Where the chain stands, and what is odd about it; half a line, as a crash leaves it, is taken away."""
        with os.fdopen(os.open(self.files.log, os.O_RDWR | os.O_NOFOLLOW), "r+b") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _LONGEST_LINE))
            tail = file.read()
            torn = len(tail) - (tail.rfind(b"\n") + 1)
            if torn:
                file.truncate(size - torn)
                tail = tail[:-torn]
        link = Link()
        if tail:
            try:
                link = link_after(tail[tail.rfind(b"\n", 0, -1) + 1 :])
            except ValueError as error:
                raise AuditError(
                    f"{self.files.log}: its newest line {error}. Keep this file and {self.files.head} elsewhere, find "
                    "out who changed it, and remove both from here: a new log then begins."
                ) from error
        known = _read_head(self.files.head)
        if known is None:
            odd = "the second copy of the newest hash was gone" if link.count else None
        elif known.count > link.count:
            odd = f"the log held {link.count} lines where {known.count} were known: its end was cut off"
        elif known.count == link.count and known.hash != link.hash:
            odd = f"line {link.count} was not the one that was known"
        else:
            odd = None
        return link, odd

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Holds the lock; what the disk refuses meanwhile is told as an error of the audit log."""
        try:
            self.files.log.parent.mkdir(parents=True, exist_ok=True)
            with locked(self.files.log):
                yield
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise AuditError(
                    f"{error.filename or self.files.log}: is a link, and the record is not written through one. Find "
                    "out who laid it there, and remove it."
                ) from error
            raise AuditError(
                f"{error.filename or self.files.log}: the audit log cannot be written ({error.strerror or error}). "
                "Nothing is answered that cannot be written down: make room on the disk, or let this user write there."
            ) from error


def read_audit(files: AuditFiles) -> tuple[list[Entry], str | None]:
    """All entries up to the first one that cannot be relied on, and what is wrong there; None if the log is sound.

    Raises:
        AuditError: if the log cannot be read.
    """
    try:
        data = files.log.read_bytes() if files.log.exists() else b""
    except OSError as error:
        raise AuditError(f"{files.log}: cannot be read ({error.strerror})") from error
    try:
        chain, _ = parse_chain(data)
    except ChainError as error:
        sound, _ = _sound_part(data, error.line)
        return sound.entries, str(error)
    return chain.entries, _against_head(chain, _read_head(files.head))


def _sound_part(data: bytes, line: int) -> tuple[Chain, bool]:
    return parse_chain(b"".join(piece + b"\n" for piece in data.split(b"\n")[: line - 1]))


def _against_head(chain: Chain, known: Link | None) -> str | None:
    if known is None:
        return "the second copy of the newest hash is gone" if chain.count else None
    if chain.count < known.count:
        return f"it holds {chain.count} lines and {known.count} are known: its end was cut off"
    if known.count and chain.hashes[known.count - 1] != known.hash:
        return f"line {known.count} was changed"
    # One line may be ahead: it and the second copy are not written in the same moment.
    if chain.count > known.count + 1:
        return f"it holds {chain.count} lines and {known.count} are known: a power cut, or lines of another hand"
    return None


def _write_head(file: Path, link: Link) -> None:
    # In place and always of the same length: a rename would wait for the disk with every message. Half a head, if a
    # power cut leaves one, is noticed and told, and does no harm: the log itself is what counts.
    text = json.dumps({"count": link.count, "hash": link.hash}).ljust(_HEAD_BYTES - 1) + "\n"
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        if os.write(descriptor, text.encode()) != _HEAD_BYTES:
            raise OSError(28, "only part of the head could be written", str(file))
    finally:
        os.close(descriptor)


def _read_head(file: Path) -> Link | None:
    try:
        head: Mapping[str, Any] = json.loads(file.read_text())
        return Link(int(head["count"]), str(head["hash"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError, OverflowError):
        return None


def _cut(value: object) -> object:
    if isinstance(value, str):
        return value[:_LONGEST_TEXT]
    if isinstance(value, Mapping):
        return {str(key)[:_LONGEST_TEXT]: _cut(item) for key, item in list(value.items())[:20]}
    return value if value is None or isinstance(value, int | float) else str(value)[:_LONGEST_TEXT]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
