"""``patients.csv`` in the root of a data set: whose image, file, folder or case each is, whatever the reader."""

import csv
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from common.errors import DataError
from common.imaging.listing import as_text
from common.imaging.patient import StudyLocation
from common.imaging.remarks import Remark, Tally, tallied
from common.system.written import decoded

PATIENTS_FILE = "patients.csv"
_FILE_COLUMNS = (
    "file", "filename", "filepath", "path", "image", "imagename", "imagepath", "imagefile", "imageid", "img", "slice",
    "case", "caseid", "folder", "directory", "study", "studyid", "series", "scan", "name",
)  # fmt: skip
_PATIENT_COLUMNS = ("patient", "patientid", "patientname", "subject", "subjectid", "person", "personid", "pid")
_DELIMITERS = ",;\t|"
_ABSENT = Remark("file", "rows of patients.csv whose file is not there")
_NAMED = 3
_SUFFIX = re.compile(r"(\.nii|\.tar)?\.[a-z0-9]{1,5}$")


@dataclass(frozen=True)
class Row:
    """One line of the table: its number, and its two cells without spaces around them."""

    line: int
    file: str
    patient: str


@dataclass(frozen=True)
class PatientsTable:
    """The rows of a table, and the files that they may speak of.

    Attributes:
        path: of the table.
        root: the folder that it is in.
        files: every file below ``root``.
    """

    path: Path
    root: Path
    rows: tuple[Row, ...]
    files: tuple[Path, ...]

    @staticmethod
    def of(root: Path, files: Iterable[Path]) -> "PatientsTable | None":
        """The table in ``root``; None if there is none.

        Commas, semicolons, tabs or bars between columns, any case and spelling of their names, UTF-8, UTF-16 or
        Latin-1, with or without a byte-order mark.

        Raises:
            DataError: if it cannot be read as a table with the two columns; the text names the line.
        """
        here = sorted(path for path in files if path.parent == root and path.name.lower() == PATIENTS_FILE)
        return PatientsTable(here[0], root, _rows(here[0]), tuple(files)) if here else None

    def applied(
        self,
        locations: Sequence[StudyLocation],
        noun: str,
        otherwise: str = "remove the file to go by the data set's names",
    ) -> list[StudyLocation]:
        """Every location with the patient that the table names.

        A row names a file or a folder by its path below the root, its end, or its name with or without the suffix, or
        a case by the name that the data set gives it.

        Args:
            noun: what the locations are, for the text of an error.
            otherwise: the way out where somebody has no such table to make.

        Raises:
            DataError: if a row fits several places or two rows disagree (with their lines), or a location has no row.
        """
        index = _Index.of(self.root, locations, self.files)
        rows: dict[int, Row] = {}
        written = Counter((row.file, row.patient) for row in self.rows)
        for row in self.rows:
            for number in index.locations_of(row, self.path, times=written[row.file, row.patient]):
                known = rows.setdefault(number, row)
                if known.patient != row.patient:
                    raise DataError(
                        f"{self.path}: lines {known.line} and {row.line} name two patients for "
                        f"{self._example(locations[number])}, {known.patient!r} and {row.patient!r}; correct one"
                    )
        nameless = [one for number, one in enumerate(locations) if number not in rows]
        if nameless:
            examples = ", ".join(self._example(one) for one in nameless[:_NAMED])
            more = f" and {len(nameless) - _NAMED} more" if len(nameless) > _NAMED else ""
            raise DataError(
                f"{self.path} names no patient for {len(nameless)} of {len(locations)} {noun}, e.g. {examples}{more}; "
                f"add them, or {otherwise}"
            )
        return [
            replace(one, patient=as_text(rows[number].patient), patient_known=True)
            for number, one in enumerate(locations)
        ]

    def absent(self, locations: Sequence[StudyLocation]) -> tuple[Tally, ...]:
        """The rows that speak of nothing below the root."""
        index = _Index.of(self.root, locations, self.files)
        return tallied((_ABSENT, as_text(row.file)) for row in self.rows if not index.holds(row))

    def _example(self, location: StudyLocation) -> str:
        path = location.files[0] if location.files else location.path
        return as_text(path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else location.patient)


@dataclass(frozen=True)
class _Index:
    """Where a spelling leads: one mapping a way of spelling, the strictest first; spelling -> place -> locations."""

    root: Path
    ways: tuple[Mapping[str, Mapping[str, frozenset[int]]], ...]

    @staticmethod
    def of(root: Path, locations: Sequence[StudyLocation], files: Iterable[Path]) -> "_Index":
        holds: dict[str, set[int]] = {path.relative_to(root).as_posix(): set() for path in files}
        cases: dict[str, set[int]] = defaultdict(set)
        for number, one in enumerate(locations):
            cases[one.patient].add(number)
            for path in one.files or (one.path,):
                if path != root and path.is_relative_to(root):
                    holds.setdefault(path.relative_to(root).as_posix(), set()).add(number)
        for place, numbers in list(holds.items()):
            while "/" in place:
                place = place.rpartition("/")[0]
                holds.setdefault(place, set()).update(numbers)
        exact, folded, ends, stems = (defaultdict[str, dict[str, frozenset[int]]](dict) for _ in range(4))
        named: dict[str, dict[str, frozenset[int]]] = defaultdict(dict)
        for place, some in holds.items():
            numbers_here = frozenset(some)
            end = place.casefold()
            exact[place][place] = folded[end][place] = numbers_here
            while end:
                ends[end][place] = stems[_without_suffix(end)][place] = numbers_here
                end = end.partition("/")[2]
        for name, numbers in cases.items():
            named[name.casefold()][name] = frozenset(numbers)
        return _Index(root, (exact, folded, ends, stems, named))

    def locations_of(self, row: Row, table: Path, times: int) -> frozenset[int]:
        """The locations that a row speaks of; none for one that no study is made of.

        Args:
            times: how often the table says the same: once for each of several files of one name.

        Raises:
            DataError: if it fits several places with different studies.
        """
        for found in self._found(row):
            meant = {place: numbers for place, numbers in found.items() if numbers}
            if len(set(meant.values())) > times:
                one, other = sorted(meant)[:2]
                raise DataError(
                    f"{table}, line {row.line}: {row.file!r} may be {as_text(one)} or {as_text(other)}; give the path "
                    "below the folder"
                )
            if meant:
                return frozenset[int]().union(*meant.values())
        return frozenset()

    def holds(self, row: Row) -> bool:
        """Whether there is anything of that name."""
        return any(True for _ in self._found(row))

    def _found(self, row: Row) -> Iterable[Mapping[str, frozenset[int]]]:
        exact, folded, ends, stems, named = self.ways
        spelled = self._below_root(row.file)
        text = spelled.casefold()
        for way, key in ((exact, spelled), (folded, text), (ends, text), (stems, text), (named, row.file.casefold())):
            if key in way:
                yield way[key]
        parts = text.split("/")
        for start in range(1, len(parts)):  # A path on another machine, of which the end is the path here.
            rest = "/".join(parts[start:])
            if rest in folded:
                yield folded[rest]

    def _below_root(self, written: str) -> str:
        text = re.sub(r"/+", "/", written.replace("\\", "/"))
        for base in {self.root.as_posix(), self.root.absolute().as_posix(), self.root.resolve().as_posix()}:
            if text.startswith(f"{base}/"):
                return text[len(base) + 1 :].rstrip("/")
        return re.sub(r"^(\./)+", "", text).strip("/")


def _without_suffix(place: str) -> str:
    """
    >>> _without_suffix("a/case_1.nii.gz")
    'a/case_1'
    """
    return _SUFFIX.sub("", place)


def _rows(table: Path) -> tuple[Row, ...]:
    try:
        text = decoded(table.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(
            f"{table} cannot be read as a table with the columns file and patient; save it as CSV"
        ) from error
    lines = text.splitlines()
    stated = re.fullmatch(r"sep=(.)", lines[0].strip()) if lines else None  # So Excel states it.
    skipped = 1 if stated else 0
    header = next((line for line in lines[skipped:] if line.strip()), "")
    if not header:
        raise DataError(f"{table} is empty; give it the columns file and patient, or remove it")
    line = skipped + 1
    rows = []
    try:
        delimiter = stated[1] if stated else max(_DELIMITERS, key=lambda one: len(_columns(header, one)))
        wanted = _columns(header, delimiter)
        if set(wanted) != {"file", "patient"}:
            raise DataError(
                f"{table}: its first line must name the columns file and patient (a comma, semicolon or tab between "
                f"them); it is {as_text(header[:80])!r}"
            )
        reader = csv.reader(lines[skipped:], delimiter=delimiter, skipinitialspace=True)
        past_header = False
        for cells in reader:
            line = reader.line_num + skipped
            values = [cell.strip().strip("\"'").strip() for cell in cells]
            if any(values) and past_header:
                rows.append(_row(table, line, values, wanted))
            past_header = past_header or any(values)
    except (csv.Error, TypeError) as error:  # The latter for a sign that cannot part columns.
        raise DataError(
            f"{table}, line {line}: cannot be read as a table with the columns file and patient ({error})"
        ) from error
    return tuple(rows)


def _row(table: Path, line: int, values: list[str], wanted: Mapping[str, int]) -> Row:
    cells = {column: values[place] if place < len(values) else "" for column, place in wanted.items()}
    empty = [column for column, value in cells.items() if not value]
    if empty:
        raise DataError(
            f"{table}, line {line}: the columns file and patient are both needed, and {' and '.join(sorted(empty))} is "
            f"empty beside {as_text(' '.join(value for value in values if value))!r}"
        )
    return Row(line, cells["file"], cells["patient"])


def _columns(header: str, delimiter: str) -> dict[str, int]:
    """Which column is the file's and which the patient's, as far as the header names them."""
    names = [re.sub(r"[\W_]+", "", name).casefold() for name in next(csv.reader([header], delimiter=delimiter), [])]
    found = {}
    for column, known in (("file", _FILE_COLUMNS), ("patient", _PATIENT_COLUMNS)):
        places = [names.index(name) for name in known if name in names]
        if places:
            found[column] = places[0]
    return found
