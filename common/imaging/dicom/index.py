"""The DICOM series below a folder, by their UIDs: names of folders and files say nothing."""

import logging
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset, FileDataset
from pydicom.uid import MediaStorageDirectoryStorage

from common.errors import BadStudyError
from common.imaging.dicom.files import quiet, read_header
from common.imaging.listing import as_text

_log = logging.getLogger(__name__)

_KEYWORDS = ("SeriesInstanceUID", "StudyInstanceUID", "PatientID", "Modality", "SeriesDescription")


@dataclass(frozen=True)
class Series:
    """One series as its headers describe it; text is empty where they say nothing.

    Files that name no series are put together by folder and modality, so that whoever reads them can say so.

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

    @property
    def study(self) -> str:
        """What tells its study from others: without a UID, a series is a study of its own."""
        return self.study_uid or self.uid or as_text(str(self.files[0].parent))


def index_folder(root: Path) -> list[Series]:
    """Every DICOM series below ``root``, sorted by patient, study and series; hidden files are passed over."""
    return index_files(_files(root))


def index_files(paths: Iterable[Path]) -> list[Series]:
    """The series to which ``paths`` belong, sorted by patient, study and series; headers only.

    Files that are no DICOM are passed over. So are DICOM files that cannot be read or state neither a series nor a
    modality, e.g. because they were cut off: one line of the log counts them. What is said of a series is what its
    first file says.
    """
    files: dict[tuple[str, ...], list[Path]] = defaultdict(list)
    first: dict[tuple[str, ...], Dataset] = {}
    damaged: list[Path] = []
    with quiet():
        for path in paths:
            try:
                header = read_header(path, _KEYWORDS)
            except BadStudyError:
                damaged.append(path)
                continue
            if header is None or _is_directory(header):
                continue
            uid, modality = _text(header, "SeriesInstanceUID"), _text(header, "Modality")
            if not uid and not modality:
                damaged.append(path)
                continue
            key = (uid,) if uid else ("", str(path.parent), modality)
            files[key].append(path)
            first.setdefault(key, header)
        found = [
            Series(
                uid=key[0],
                study_uid=_text(first[key], "StudyInstanceUID"),
                patient=_text(first[key], "PatientID"),
                modality=_text(first[key], "Modality"),
                description=_text(first[key], "SeriesDescription"),
                files=tuple(sorted(members)),
            )
            for key, members in files.items()
        ]
    if damaged:
        _log.info(
            "%d DICOM files are passed over, their headers cannot be read or name no series, e.g. %s",
            len(damaged),
            damaged[0],
        )
    return sorted(found, key=lambda series: (series.patient, series.study_uid, series.uid, series.files))


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
