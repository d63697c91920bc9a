"""Which series and which of its images a segmentation or structure set was drawn on."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from pydicom import Dataset

from common.imaging.dicom.files import quiet, read_header
from common.imaging.dicom.index import Series

_SERIES = ("ReferencedSeriesSequence", "ReferencedFrameOfReferenceSequence")
_IMAGES = ("PerFrameFunctionalGroupsSequence", "ROIContourSequence")


def referred_series(mask: Path, candidates: Sequence[Series]) -> Series | None:
    """The one series of ``candidates`` that a SEG or RTSTRUCT was drawn on; None if that cannot be told.

    A mask names its series. For one that does not, or names several, the series is sought in its study by the images
    that it names or, if it names none, by its frame of reference; where two series fit it is not guessed.
    """
    named = _values(mask, _SERIES, "SeriesInstanceUID")
    study = _values(mask, ("StudyInstanceUID",), "StudyInstanceUID")
    fitting = [series for series in candidates if series.uid in named]
    within = fitting or [series for series in candidates if series.study_uid in study or not study]
    if named and len(fitting) < 2:
        pass
    elif images := referred_images(mask):
        fitting = [series for series in within if any(_has(path, "SOPInstanceUID", images) for path in series.files)]
    else:
        space = _values(mask, ("FrameOfReferenceUID",), "FrameOfReferenceUID")
        fitting = [series for series in within if _has(series.files[0], "FrameOfReferenceUID", space)]
    return fitting[0] if len(fitting) == 1 else None


def names_no_images(mask: Path) -> bool:
    """Whether a mask says neither on which series nor on which images it was drawn, so that its space alone tells."""
    return not _values(mask, _SERIES, "SeriesInstanceUID") and not referred_images(mask)


def referred_images(mask: Path) -> frozenset[str]:
    """SOPInstanceUIDs of the images that a mask refers to: frame by frame, or else as a list for the whole file."""
    uids = _values(mask, _IMAGES, "ReferencedSOPInstanceUID")
    return uids or _values(mask, _SERIES, "ReferencedSOPInstanceUID")


def instance_uid(path: Path) -> str:
    """The SOPInstanceUID of a file; empty if it has none."""
    return next(iter(_values(path, ("SOPInstanceUID",), "SOPInstanceUID")), "")


def _values(path: Path, within: Sequence[str], keyword: str) -> frozenset[str]:
    """All values of ``keyword`` in a file's attributes ``within``, at any depth; none where it is damaged."""
    with quiet():
        try:
            header = read_header(path, within)
            return frozenset(_collect(header, keyword)) if header is not None else frozenset()
        except Exception:  # pydicom converts a sequence when it is asked for, and a damaged one fails in many ways.
            return frozenset()


def _collect(dataset: Dataset, keyword: str) -> Iterator[str]:
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                yield from _collect(item, keyword)
        elif element.keyword == keyword and element.value:
            yield str(element.value)


def _has(path: Path, keyword: str, values: Collection[str]) -> bool:
    return bool(_values(path, (keyword,), keyword) & set(values))
