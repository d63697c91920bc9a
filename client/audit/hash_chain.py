"""Lines that vouch for each other: a file of JSON lines, each with the hash of the line before it.

Who changes, removes or inserts a line breaks the chain at that place. What the chain alone cannot show is that its end
was cut off; whoever must know that keeps the newest hash elsewhere.

Only the standard library is used: accounts must be written where nothing else works.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Entry = dict[str, Any]


class ChainError(ValueError):
    """A line is not what the chain says.

    Attributes:
        line: its number, 1-based.
    """

    def __init__(self, line: int, what: str) -> None:
        super().__init__(f"line {line} {what}")
        self.line = line


@dataclass(frozen=True)
class Link:
    """Where a chain stands: what the next line has to state.

    Attributes:
        count: the number of lines so far.
        hash: of the newest line; empty before the first.
    """

    count: int = 0
    hash: str = ""

    def line(self, entry: Mapping[str, Any]) -> bytes:
        """The line of the entry that comes next, with its end of line."""
        record = {"sequence": self.count, "previous": self.hash, "entry": entry}
        return (json.dumps(record, sort_keys=True) + "\n").encode()

    def after(self, line: bytes) -> "Link":
        """Where the chain stands once ``line`` is part of it."""
        return Link(self.count + 1, hashlib.sha256(line).hexdigest())


class Chain:
    """Entries, the lines that hold them, and the hash of each line."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.raw: list[bytes] = []
        self.hashes: list[str] = []

    @property
    def count(self) -> int:
        return len(self.entries)

    @property
    def end(self) -> Link:
        """What the next line follows."""
        return Link(self.count, self.hashes[-1] if self.hashes else "")

    def line(self, entry: Entry) -> bytes:
        """The line of the entry that comes next."""
        return self.end.line(entry)

    def add(self, entry: Entry) -> None:
        line = self.line(entry)
        self.entries.append(entry)
        self.raw.append(line)
        self.hashes.append(hashlib.sha256(line).hexdigest())


def parse_chain(data: bytes) -> tuple[Chain, bool]:
    """The chain in the bytes of a file, and whether half a line follows it.

    Raises:
        ChainError: for the first line that is not what the chain says.
    """
    chain = Chain()
    *whole, rest = data.split(b"\n")
    for number, raw in enumerate(whole, start=1):
        line = raw + b"\n"
        try:
            record = json.loads(raw)
            entry, own = record["entry"], Link(int(record["sequence"]), str(record["previous"]))
            # Written anew and compared as bytes, so that no two spellings of a line are both right.
            if not isinstance(entry, dict) or own.line(entry) != line:
                raise ChainError(number, "was changed")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ChainError(number, "was changed") from error
        if own.count != chain.count:
            raise ChainError(number, "is not the one that belongs there: lines were removed, added or exchanged")
        if own.hash != chain.end.hash:
            # This line reads well and follows another one than stands before it.
            raise ChainError(max(1, number - 1), "was changed")
        chain.add(entry)
    return chain, bool(rest)


def link_after(line: bytes) -> Link:
    """Where a chain stands after its newest line, which alone is looked at.

    Raises:
        ValueError: if it is no line of a chain.
    """
    try:
        record = json.loads(line)
        link = Link(int(record["sequence"]), str(record["previous"]))
        if link.line(record["entry"]) != line:
            raise ValueError("written otherwise than a chain's lines are")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError("is no line of a chain") from error
    return link.after(line)


def append_line(file: Path, line: bytes, *, flush: bool = True) -> None:
    """Adds a whole line to a file that is there, or nothing.

    Args:
        flush: wait until the disk has it.

    Raises:
        OSError: if it cannot be written, or is a link; the file is then as it was.
    """
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW)
    try:
        before = os.fstat(descriptor).st_size
        try:
            if os.write(descriptor, line) != len(line):
                raise OSError(28, "only part of the line could be written")
            if flush:
                os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, before)
            raise
    finally:
        os.close(descriptor)
