"""Which files below a folder belong to no study, by what they are."""

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from common.errors import BadStudyError
from common.imaging.dicom.files import quiet, read_header
from common.imaging.listing import as_text
from common.imaging.patient import StudyLocation
from common.imaging.remarks import Remark, Tally, tallied

TABLES = ("patients.csv", "dataset.json")
"""Files that say how a folder is to be read; readers use them, and they belong to no study."""

_MOST_HEADERS = 5_000
_DAMAGED = "DICOM with a damaged header"


def passed_over(root: Path, files: Iterable[Path], locations: Collection[StudyLocation]) -> tuple[Tally, ...]:
    """The files of which no study is made, counted by what they are.

    Args:
        files: every file below ``root``.
        locations: every study that was found there.
    """
    used = {path for location in locations for path in location.files}
    whole = {location.path for location in locations if not location.files}
    left = [
        path
        for path in files
        if path not in used
        and not (path.parent == root and path.name.lower() in TABLES)
        and whole.isdisjoint((path, *path.parents))
    ]
    return tallied(
        (Remark("file", what), as_text(path.relative_to(root).as_posix())) for path, what in _described(left)
    )


def _described(files: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    headers = 0
    for path in files:
        suffix = "".join(path.suffixes[-2:] if path.suffix.lower() == ".gz" else path.suffixes[-1:])
        what = f"*{as_text(suffix)}" if suffix else "without a suffix"
        if headers < _MOST_HEADERS and (series := _series(path)):
            headers += 1
            what = series
        yield path, what


def _series(path: Path) -> str:
    """The modality and description of the series that a DICOM file belongs to; empty for any other file."""
    try:
        with quiet():
            header = read_header(path, ("Modality", "SeriesDescription", "SeriesInstanceUID"))
            if header is None:
                return ""
            if not header.get("Modality") and not header.get("SeriesInstanceUID"):
                return _DAMAGED
            modality, description = header.get("Modality") or "of no modality", header.get("SeriesDescription") or ""
    except BadStudyError:
        return _DAMAGED
    except OSError:
        return ""
    return f"DICOM {modality}" + (f" {str(description)[:60]!r}" if description else "")
