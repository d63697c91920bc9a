"""A program's lines between the pipe that it writes them into and somebody who may be slow: none of them waits for us.

A pipe that nobody empties stops the program that writes into it, and what it writes may be another's choice: as many
lines as that one likes, of any length.
"""

import contextlib
import threading
from collections import deque
from collections.abc import Iterator
from typing import BinaryIO

from common.system.outside import LONGEST_LINE, line, uncoloured

MOST_WAITING = 1000
"""Lines that are kept for somebody who is slow."""

_PART = 65536

_MOST_BYTES = 4 * (LONGEST_LINE + 1)
"""Of a line, before it is cut by its characters."""


class WaitingLines:
    """Lines that were read and not yet told, in their order; of those that find no place only the number is kept."""

    def __init__(self, most: int = MOST_WAITING) -> None:
        self._most = most
        self._lines: deque[str] = deque()
        self._dropped = 0
        self._ended = False
        self._changed = threading.Condition()

    def add(self, told: str) -> None:
        """Takes a line, and never waits."""
        with self._changed:
            if len(self._lines) < self._most:
                self._lines.append(told)
            else:
                self._dropped += 1
            self._changed.notify()

    def end(self) -> None:
        """Says that no line follows."""
        with self._changed:
            self._ended = True
            self._changed.notify()

    def __iter__(self) -> Iterator[str]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._lines or self._dropped or self._ended)
                if self._lines:
                    told = self._lines.popleft()
                elif self._dropped:
                    told, self._dropped = f"{self._dropped} lines were left out: they came faster than they are told", 0
                else:
                    return
            yield told


def read_lines(pipe: BinaryIO, waiting: WaitingLines) -> None:
    """Reads a pipe to its end; of each line at most its beginning is held."""
    begun = b""
    with contextlib.suppress(ValueError, OSError):
        while part := pipe.read(_PART):
            *ended, rest = part.split(b"\n")
            for piece in ended:
                waiting.add(_fit(begun + piece))
                begun = b""
            begun = (begun + rest)[:_MOST_BYTES]
    if begun:
        waiting.add(_fit(begun))
    waiting.end()


def _fit(raw: bytes) -> str:
    return line(uncoloured(raw[:_MOST_BYTES].decode(errors="replace")))
