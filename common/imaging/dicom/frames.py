"""One slice of a series with what its header says of it, alike for files of one slice and of many."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.multival import MultiValue

from common.errors import BadStudyError

Vector = npt.NDArray[np.float64]

PARTS = {
    "AcquisitionNumber": "acquisitions",
    "TemporalPositionIdentifier": "points in time",
    "TriggerTime": "points in time",
    "EchoTime": "echoes",
    "DiffusionBValue": "diffusion weightings",
    "ImageType": "kinds of image",
}
"""Attributes by which slices of several volumes in one series differ, and what such volumes are called."""

_IN_FRAMES = {
    "AcquisitionNumber": ("FrameContentSequence", "FrameAcquisitionNumber"),
    "TemporalPositionIdentifier": ("FrameContentSequence", "TemporalPositionIndex"),
    "EchoTime": ("MREchoSequence", "EffectiveEchoTime"),
    "DiffusionBValue": ("MRDiffusionSequence", "DiffusionBValue"),
}
"""Where a multi-frame file says the same: the functional group, and its attribute."""


@dataclass(frozen=True)
class Frame:
    """One slice.

    Attributes:
        name: of its file, with the frame's number where there are several; for reasons.
        dataset: the file.
        index: the frame's place in its file, from 0.
        sop_uid: of the file.
        position: (3,) LPS millimetres of the first pixel's centre.
        orientation: (2, 3) LPS unit vectors, along which the column index and the row index ascend.
        pixel_spacing: millimetres from row to row and from column to column.
        parts: what tells several acquisitions of one series apart, by the keys of ``PARTS``, as text; empty where the
            header says nothing.
        slope, intercept: from stored values to the modality's units; None where the header gives none.
    """

    name: str
    dataset: Dataset
    index: int
    sop_uid: str
    position: Vector
    orientation: npt.NDArray[np.float64]
    pixel_spacing: tuple[float, float]
    parts: dict[str, str]
    slope: float | None
    intercept: float | None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return int(self.dataset.Rows), int(self.dataset.Columns)


def is_localiser(dataset: Dataset) -> bool:
    """Whether a file is a scout view, which shares a series with the slices that were planned on it.

    Source: DICOM PS3.3 C.8.2.1.1.1, value 3 of the image type; scanners also write it further on.
    """
    kind = dataset.get("ImageType") or ()
    words = [kind] if isinstance(kind, str) else list(kind)
    return any(word in ("LOCALIZER", "SCOUT") for word in words)


def frame_count(dataset: Dataset) -> int:
    """Frames in a file; 1 where the header says nothing."""
    return int(dataset.get("NumberOfFrames") or 1)


def frames_of(name: str, dataset: Dataset) -> Iterator[Frame]:
    """The slices of one file, in the order in which they are stored.

    Raises:
        BadStudyError: an attribute that a slice needs is missing or no number.
    """
    groups = dataset.get("PerFrameFunctionalGroupsSequence")
    count = frame_count(dataset)
    if groups is None and count > 1:
        raise BadStudyError(f"{name}: holds {count} frames without positions")
    if groups is not None and len(groups) != count:
        raise BadStudyError(f"{name}: holds {count} frames, but describes {len(groups)}")
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    for index in range(count):
        where = [dataset] if groups is None else [groups[index], shared]
        label = name if count == 1 else f"{name} frame {index + 1}"
        position = _find(where, "PlanePositionSequence", "ImagePositionPatient")
        orientation = _find(where, "PlaneOrientationSequence", "ImageOrientationPatient")
        row, column = _numbers(label, "PixelSpacing", _find(where, "PixelMeasuresSequence", "PixelSpacing"), 2)
        slope = _find(where, "PixelValueTransformationSequence", "RescaleSlope")
        intercept = _find(where, "PixelValueTransformationSequence", "RescaleIntercept")
        if groups is None:
            parts = {keyword: dataset.get(keyword) for keyword in PARTS}
        else:
            parts = {keyword: _find(where, *place) for keyword, place in _IN_FRAMES.items()}
        yield Frame(
            name=label,
            dataset=dataset,
            index=index,
            sop_uid=str(_required(name, dataset, "SOPInstanceUID")),
            position=_numbers(label, "ImagePositionPatient", position, 3),
            orientation=_numbers(label, "ImageOrientationPatient", orientation, 6).reshape(2, 3),
            pixel_spacing=(float(row), float(column)),
            parts={keyword: "" if value is None else str(value) for keyword, value in parts.items()},
            slope=None if slope is None else float(_numbers(label, "RescaleSlope", slope, 1)[0]),
            intercept=None if intercept is None else float(_numbers(label, "RescaleIntercept", intercept, 1)[0]),
        )


def _find(where: list[Dataset], macro: str, keyword: str) -> Any:
    """An attribute of a plain file, or of a multi-frame file's own or shared functional group."""
    for group in where:
        items = group.get(macro)
        value = (items[0] if items else group).get(keyword)
        if value is not None:
            return value
    return None


def _required(name: str, dataset: Dataset, keyword: str) -> Any:
    value = dataset.get(keyword)
    if value in (None, ""):
        raise BadStudyError(f"{name}: {keyword} is missing")
    return value


def _numbers(name: str, keyword: str, values: Any, count: int) -> Vector:
    several = values if isinstance(values, MultiValue) else [values]
    if values is None or len(several) == 0:
        raise BadStudyError(f"{name}: {keyword} is missing")
    try:
        numbers = np.array([float(value) for value in several], np.float64)
    except (TypeError, ValueError):
        numbers = np.empty(0)
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise BadStudyError(f"{name}: {keyword} does not hold {count} number{'s' if count > 1 else ''}")
    return numbers
