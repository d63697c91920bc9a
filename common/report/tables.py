"""Tables as data: the page's templates draw them, the CSV files beside the page are written from the same rows."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.figures.formatting import MISSING, Interval, Scale
from common.system.files import write_bytes
from common.system.outside import csv_cell


@dataclass(frozen=True)
class Cell:
    """One cell: a figure, a second line in small type (its interval), and a note for hovering and screen readers."""

    text: str
    small: str = ""
    kind: str = ""
    """``number`` is set flush right; ``word`` flush left, wrapping; ``word prose`` the same in a wider column."""


@dataclass(frozen=True)
class Table:
    """Rows under column headings; the first cell of each row is the row's heading.

    Attributes:
        caption: what the table shows, with units and what n is.
        columns: headings.
        rows: as many cells each as there are columns.
        groups: (heading, columns spanned) of an upper heading row; empty without one.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    groups: Sequence[tuple[str, int]] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError(f"table {self.caption!r}: a row does not fit its {len(self.columns)} columns")


def word(text: str) -> Cell:
    """A short text."""
    return Cell(text, kind="word")


def prose(text: str) -> Cell:
    """A text of several words, in a column wide enough for it."""
    return Cell(text, kind="word prose")


def number(text: str | float | None) -> Cell:
    """A figure without an interval; a dash for None."""
    return Cell(MISSING if text is None else str(text), kind="number")


def figure(interval: Interval | None, scale: Scale) -> Cell:
    """A mean with its interval below it."""
    if interval is None or interval.value is None:
        return number(None)
    bounds = scale.bounds(interval)
    return Cell(scale.text(interval.value), f"({bounds})" if bounds else "(no interval)", "number")


@dataclass(frozen=True)
class HeatCell:
    """One cell of a heat map: ``warmth`` in [0, 1] is how strongly it is coloured, None leaves it blank."""

    text: str
    small: str
    warmth: float | None
    own: bool = False
    """True where a model meets the test patients of the site it was trained at."""
    below: bool = False
    """True for a negative difference: coloured by the other of two colours."""


@dataclass(frozen=True)
class HeatMap:
    caption: str
    row_title: str
    rows: Sequence[str]
    columns: Sequence[str]
    cells: Sequence[Sequence[HeatCell]]


def heat_map(
    caption: str,
    rows: Sequence[str],
    columns: Sequence[str],
    values: Sequence[Sequence[float | None]],
    intervals: Sequence[Sequence[Interval | None]] | None,
    scale: Scale,
    *,
    row_title: str,
    span: tuple[float, float] = (0.5, 1.0),
) -> HeatMap:
    """A matrix of figures, coloured from the first end of ``span`` (chance) to the second (perfect)."""

    def cell(i: int, j: int) -> HeatCell:
        value = values[i][j]
        interval = intervals[i][j] if intervals else None
        warmth = None if value is None else min(1.0, max(0.0, (value - span[0]) / (span[1] - span[0])))
        return HeatCell(scale.text(value), scale.bounds(interval), warmth, own=rows[i] == columns[j])

    cells = [[cell(i, j) for j in range(len(columns))] for i in range(len(rows))]
    return HeatMap(caption, row_title, rows, columns, cells)


def gain_map(
    caption: str,
    rows: Sequence[str],
    columns: Sequence[str],
    values: Sequence[Sequence[float | None]],
    intervals: Sequence[Sequence[Interval | None]],
    scale: Scale,
    *,
    row_title: str,
    least: float = 0.02,
) -> HeatMap:
    """A matrix of differences: one colour above zero, another below it, the stronger the further from it.

    Args:
        least: the difference that has the full colour where none is larger, so that noise about zero stays pale.
    """
    far = max([least, *(abs(value) for row in values for value in row if value is not None)])

    def cell(i: int, j: int) -> HeatCell:
        value = values[i][j]
        warmth = None if value is None else abs(value) / far
        text = scale.signed.text(value)
        below = value is not None and value < 0
        return HeatCell(text, scale.signed.bounds(intervals[i][j]), warmth, own=rows[i] == columns[j], below=below)

    cells = [[cell(i, j) for j in range(len(columns))] for i in range(len(rows))]
    return HeatMap(caption, row_title, rows, columns, cells)


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> Path:
    """Rows as CSV at full precision, None as an empty field; replaced as a whole or not at all.

    A text that a spreadsheet would take for a formula is marked as text, with an apostrophe before it.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=columns, lineterminator="\n")
    writer.writerow({name: csv_cell(name) for name in columns})
    writer.writerows({name: csv_cell(value) for name, value in row.items()} for row in rows)
    write_bytes(path, text.getvalue().encode())
    return path
