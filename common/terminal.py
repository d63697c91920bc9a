"""One long piece of work on a terminal: a bar for a person, plain lines for a pipe or a file."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from common.outside import say

Advance = Callable[[int, int, str], None]
"""Told after each piece: pieces done, pieces in all, and what the last one was (which is never shown)."""

_LINES = 10


@contextmanager
def counted(doing: str, noun: str, stream: TextIO) -> Iterator[Advance]:
    """Shows how far something is.

    On a terminal that can move its cursor a bar with the time left, gone when the work is done; elsewhere about ten
    lines such as ``preparing: 3 of 12 patients``.

    Args:
        doing: e.g. ``"preparing"``.
        noun: what is counted, in the plural.
        stream: where it is shown.

    >>> import sys
    >>> with counted("preparing", "patients", sys.stdout) as advance:
    ...     advance(1, 2, "ann")
    ...     advance(2, 2, "bob")
    preparing: 1 of 2 patients
    preparing: 2 of 2 patients
    """
    console = Console(file=stream)
    if not console.is_terminal or console.is_dumb_terminal:
        yield _lines(doing, noun, stream)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(noun))
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        task = progress.add_task(doing, total=None)
        yield lambda done, total, _: progress.update(task, completed=done, total=total)


def _lines(doing: str, noun: str, stream: TextIO) -> Advance:
    def advance(done: int, total: int, _: str) -> None:
        if done in (1, total) or done * _LINES // total > (done - 1) * _LINES // total:
            say(f"{doing}: {done} of {total} {noun}", stream=stream)

    return advance
