"""One long piece of work on a terminal: a bar for a person, plain lines for a pipe or a file."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from common.study.progress import Event, Listener
from common.system.outside import say

_LINES = 10


@contextmanager
def counted(doing: str, noun: str, stream: TextIO) -> Iterator[Listener]:
    """Shows how far something is, by an event for each finished piece (:func:`common.study.progress.piece_done`).

    On a terminal that can move its cursor a bar with the time left, gone when the work is done; elsewhere about ten
    lines such as ``preparing: 3 of 12 patients``.

    Args:
        doing: e.g. ``"preparing"``.
        noun: what is counted, in the plural.
        stream: where it is shown.

    >>> import sys
    >>> from common.study.progress import piece_done
    >>> with counted("preparing", "patients", sys.stdout) as tell:
    ...     tell(piece_done(1, 2, "ann"))
    ...     tell(piece_done(2, 2, "bob"))
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
        yield lambda event: progress.update(task, completed=event.values["done"], total=event.values["total"])


def _lines(doing: str, noun: str, stream: TextIO) -> Listener:
    def tell(event: Event) -> None:
        done, total = event.values["done"], event.values["total"]
        if done in (1, total) or done * _LINES // total > (done - 1) * _LINES // total:
            say(f"{doing}: {done} of {total} {noun}", stream=stream)

    return tell
