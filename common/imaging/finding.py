"""The studies of a folder: what its reader finds, under the patients that ``patients.csv`` names, and what is told."""

from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path

from common.imaging.listing import as_text, list_files
from common.imaging.passed_over import passed_over
from common.imaging.patient import StudyLocation
from common.imaging.patients_table import PatientsTable
from common.imaging.readers.reader import Reader
from common.imaging.remarks import Tally, tallied


def find_studies(reader: Reader, root: Path, files: Collection[Path] | None = None) -> list[StudyLocation]:
    """Every study below ``root``, sorted by patient, without reading pixels.

    Args:
        files: every file below ``root``, where they are known.

    Raises:
        DataError: if the reader finds nothing that it reads, or ``patients.csv`` does not name everybody.
    """
    found = reader.find(root)
    table = PatientsTable.of(root, list_files(root) if files is None else files)
    if table is not None:
        found = table.applied(found, "studies")
    return sorted((replace(one, patient=as_text(one.patient)) for one in found), key=lambda one: one.patient)


def told_of(root: Path, files: Collection[Path], locations: Iterable[StudyLocation]) -> tuple[Tally, ...]:
    """What is known of the whole folder: files passed over, rows of nothing, what studies are beside each other."""
    locations = list(locations)
    table = PatientsTable.of(root, files)
    absent = () if table is None else table.absent(locations)
    beside = tallied((remark, one.patient) for one in locations for remark in one.remarks)
    return (*passed_over(root, files, locations), *absent, *beside)
