"""The DICOM series below a folder, by their UIDs: names of folders and files say nothing."""

import logging
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset, FileDataset
from pydicom.uid import MediaStorageDirectoryStorage

from common.errors import BadStudyError
from common.imaging.dicom.files import quiet, read_header

_log = logging.getLogger(__name__)

_KEYWORDS = ("SeriesInstanceUID", "StudyInstanceUID", "PatientID", "Modality", "SeriesDescription")


@dataclass(frozen=True)
class Series:
    """One series as its headers describe it; text is empty where they say nothing.

    Attributes:
        uid, study_uid: of the series and its study.
        patient: the patient's ID.
        modality: as DICOM writes it: ``CT``, ``MR``, ``SEG``, ``RTSTRUCT``, ``CR``, …
        description: what the scanner or its operator called the series.
        files: sorted by path. One file may be there twice under two names.
    """

    uid: str
    study_uid: str
    patient: str
    modality: str
    description: str
    files: tuple[Path, ...]


def index_folder(root: Path) -> list[Series]:
    """Every DICOM series below ``root``, sorted by patient, study and series; hidden files are passed over."""
    return index_files(_files(root))


def index_files(paths: Iterable[Path]) -> list[Series]:
    """The series to which ``paths`` belong, sorted by patient, study and series; headers only.

    Files that are no DICOM are passed over. So are DICOM files that cannot be read or name no series (they were cut
    off, or their UIDs were removed): one line of the log counts them. What is said of a series is what its first file
    says.
    """
    files: dict[str, list[Path]] = defaultdict(list)
    first: dict[str, Dataset] = {}
    damaged: list[Path] = []
    with quiet():
        for path in paths:
            uid = ""
            with suppress(BadStudyError):
                header = read_header(path, _KEYWORDS)
                if header is None or _is_directory(header):
                    continue
                uid = _text(header, "SeriesInstanceUID")
            if uid and header is not None:
                files[uid].append(path)
                first.setdefault(uid, header)
            else:
                damaged.append(path)
        found = [
            Series(
                uid=uid,
                study_uid=_text(first[uid], "StudyInstanceUID"),
                patient=_text(first[uid], "PatientID"),
                modality=_text(first[uid], "Modality"),
                description=_text(first[uid], "SeriesDescription"),
                files=tuple(sorted(members)),
            )
            for uid, members in files.items()
        ]
    if damaged:
        _log.warning(
            "%d DICOM files are passed over, their headers cannot be read or name no series, e.g. %s",
            len(damaged),
            damaged[0],
        )
    return sorted(found, key=lambda series: (series.patient, series.study_uid, series.uid))


def _files(root: Path) -> Iterator[Path]:
    """Regular files below ``root`` in the order of their paths; links are followed, each folder is entered once."""
    entered = set()
    for folder, children, names in os.walk(root, followlinks=True):
        state = os.stat(folder)
        if (state.st_dev, state.st_ino) in entered:
            children.clear()
            continue
        entered.add((state.st_dev, state.st_ino))
        children[:] = sorted(child for child in children if not child.startswith("."))
        for name in sorted(names):
            path = Path(folder, name)
            if not name.startswith(".") and path.is_file():
                yield path


def _is_directory(header: FileDataset) -> bool:
    """Whether a file is a DICOMDIR, the table of contents of a CD."""
    return _text(header.file_meta, "MediaStorageSOPClassUID") == MediaStorageDirectoryStorage


def _text(header: Dataset, keyword: str) -> str:
    """An attribute as plain text; empty where it is missing or damaged."""
    try:
        value = header.get(keyword)
    except Exception:  # pydicom converts a value only now.
        return ""
    return "" if value is None else str(value).strip()
