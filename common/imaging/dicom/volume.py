"""One DICOM series becomes one volume, with its place in the patient."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform
from pydicom import Dataset

from common.errors import BadStudyError
from common.imaging.deidentification import identifying_fields
from common.imaging.dicom.acquisitions import Referred, one_acquisition
from common.imaging.dicom.files import MOST_BYTES, quiet, read_file
from common.imaging.dicom.frames import Frame, frame_count, frames_of, is_localiser
from common.imaging.dicom.pixels import check_format, write_units
from common.imaging.remarks import Remark

Scalar = TypeVar("Scalar", bound=np.generic)

NO_SERIES = (
    "SeriesInstanceUID is missing (removed, or the file is cut off), so that nothing says which slices belong "
    "together; let the de-identification replace UIDs instead of removing them"
)
"""Why files without it make no volume."""

_SMALLEST_SIDE = 16
_COPIED = 1e-3
"""Millimetres by which the places of two copies of a slice may differ: programs round decimal strings."""


@dataclass(frozen=True)
class DicomVolume:
    """A series of parallel, evenly spaced slices.

    Attributes:
        voxels: (Z, Y, X) float32, HU for CT and stored units for MR; each slice as stored, slices ascending along
            their normal.
        spacing: millimetres along (z, y, x).
        affine: (4, 4) from the index (x, y, z) to LPS millimetres.
        sop_uids: the SOPInstanceUID of each slice; frames of one file share theirs.
        series_uid, study_uid, patient: what the headers say; empty where they say nothing.
        frame_of_reference: UID of the space in which ``affine`` places the volume; empty where there is none.
        modality: ``"CT"`` or ``"MR"``.
        identifying: header fields that may identify the person, by keyword.
        remarks: what was chosen on a guess.
    """

    voxels: npt.NDArray[np.float32]
    spacing: tuple[float, float, float]
    affine: npt.NDArray[np.float64]
    sop_uids: tuple[str, ...]
    series_uid: str
    study_uid: str
    patient: str
    frame_of_reference: str
    modality: str
    identifying: tuple[str, ...]
    remarks: tuple[Remark, ...] = ()

    def to_lps(self, array: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
        """An array on this grid, (Z, Y, X), turned as :class:`~common.imaging.patient.Patient` wants it.

        z ascends to superior, y to posterior, x to the patient's left; an oblique series takes the nearest axes. A
        view where that is possible.
        """
        turned = apply_orientation(array.transpose(2, 1, 0), self._turn)
        return np.asarray(turned.transpose(2, 1, 0), dtype=array.dtype)

    @property
    def lps_spacing(self) -> tuple[float, float, float]:
        """Millimetres along (z, y, x) after :meth:`to_lps`."""
        steps = dict(zip(self._turn[:, 0].astype(int).tolist(), self.spacing[::-1], strict=True))
        return steps[2], steps[1], steps[0]

    @property
    def _turn(self) -> npt.NDArray[np.float64]:
        """nibabel's description of the turn of an (X, Y, Z) array to LPS; nibabel counts in RAS."""
        ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ self.affine
        return np.asarray(ornt_transform(io_orientation(ras), axcodes2ornt(("L", "P", "S"))))


def load_volume(files: Sequence[Path], *, referred: Referred = ()) -> DicomVolume:
    """The volume that one series' files hold, whatever their names, order and instance numbers.

    Scout views are left out, and a file that is there twice counts once, in whatever compression. Of several
    acquisitions (or echoes, points in time, …) that form no volume together, the one is taken that a mask refers to, or
    else the largest if it alone forms one; a remark says so.

    Args:
        referred: SOPInstanceUIDs to which a mask refers, or a function that gives them: it is called only where there
            are several acquisitions.

    Raises:
        BadStudyError: the reason is any of the pitfalls that ``stacking`` and ``pixels`` name, a file that cannot be
            read, another modality than CT or MR, or a size beyond ``MOST_BYTES``.
    """
    with quiet():
        try:
            return _load(files, referred)
        except (BadStudyError, ImportError):  # A package that is missing is no damaged file.
            raise
        except Exception as error:  # pydicom converts an attribute when it is asked for, and a damaged one fails then.
            first = files[0].name if files else "no file"
            raise BadStudyError(f"the series of {first}: a header cannot be understood") from error


def _load(files: Sequence[Path], referred: Referred) -> DicomVolume:
    frames = _frames(files)
    chosen, remarks = one_acquisition(frames, referred)
    dataset = chosen.frames[0].dataset
    voxels = np.empty((len(chosen.frames), *chosen.frames[0].shape), np.float32)
    identifying: set[str] = set()
    for frame, out in zip(chosen.frames, voxels, strict=True):
        check_format(frame)
        write_units(frame, out)
        if "PerFrameFunctionalGroupsSequence" not in frame.dataset:
            frame.dataset.pop("PixelData", None)  # Decoded; the memory is needed for the others.
    # The frames of one file share its header.
    for header in {id(frame.dataset): frame.dataset for frame in chosen.frames}.values():
        identifying.update(identifying_fields(header))
    if voxels.min() == voxels.max():
        raise BadStudyError("image is empty, every voxel has the same value")
    return DicomVolume(
        voxels=voxels,
        spacing=chosen.spacing,
        affine=chosen.affine,
        sop_uids=tuple(frame.sop_uid for frame in chosen.frames),
        series_uid=str(dataset.SeriesInstanceUID),
        study_uid=str(dataset.get("StudyInstanceUID") or ""),
        patient=str(dataset.get("PatientID") or ""),
        frame_of_reference=str(dataset.get("FrameOfReferenceUID") or ""),
        modality=str(dataset.Modality),
        identifying=tuple(sorted(identifying)),
        remarks=remarks,
    )


def _frames(files: Sequence[Path]) -> list[Frame]:
    """The slices of all files that belong into a volume.

    Raises:
        BadStudyError: the files are of several series, one is no CT or MR slice, or all together are too large.
    """
    size = sum(path.stat().st_size for path in files if path.is_file())
    _check_size(size)
    instances: dict[str, tuple[str, Dataset]] = {}
    frames: list[Frame] = []
    localisers = voxels = 0
    for path in files:
        dataset = read_file(path)
        _check_kind(path.name, dataset)
        if is_localiser(dataset):
            localisers += 1
            continue
        uid = str(dataset.SOPInstanceUID)
        if uid in instances:
            _check_same(instances[uid], (path.name, dataset))
            continue
        if frames and dataset.SeriesInstanceUID != frames[0].dataset.SeriesInstanceUID:
            raise BadStudyError(f"{path.name}: belongs to another series than {frames[0].name}")
        instances[uid] = (path.name, dataset)
        voxels += int(dataset.Rows) * int(dataset.Columns) * frame_count(dataset)
        _check_size(voxels * 4)
        frames.extend(frames_of(path.name, dataset))
    if localisers and not frames:
        raise BadStudyError("the series holds nothing but localisers (scout views)")
    return frames


def _check_size(size: int) -> None:
    if size > MOST_BYTES:
        raise BadStudyError(f"the series is larger than {MOST_BYTES >> 30} GiB")


def _check_kind(name: str, dataset: Dataset) -> None:
    """Refuses what is no slice of a CT or MR, and sizes that no scanner makes."""
    if not dataset.get("SeriesInstanceUID"):
        raise BadStudyError(f"{name}: {NO_SERIES}")
    if not dataset.get("Modality"):
        raise BadStudyError(f"{name}: Modality is missing, the file is damaged or no image")
    if dataset.Modality not in ("CT", "MR"):
        raise BadStudyError(f"{name}: modality is {dataset.Modality}, expected CT or MR")
    for keyword in ("SOPInstanceUID", "Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation"):
        if dataset.get(keyword) in (None, ""):
            removed = "; let the de-identification replace UIDs instead of removing them"
            raise BadStudyError(f"{name}: {keyword} is missing{removed if keyword.endswith('UID') else ''}")
    sides = int(dataset.Rows), int(dataset.Columns)
    if min(sides) < _SMALLEST_SIDE or frame_count(dataset) < 1:
        raise BadStudyError(f"{name}: {frame_count(dataset)} slices of {sides[0]}x{sides[1]} pixels are too small")


def _check_same(first: tuple[str, Dataset], second: tuple[str, Dataset]) -> None:
    """Passes two copies of one slice, compressed or not; two different slices must not share a UID."""
    names = f"{first[0]} and {second[0]} have one SOPInstanceUID, but are two different slices"
    if any(first[1].get(keyword) != second[1].get(keyword) for keyword in ("Modality", "Rows", "Columns")):
        raise BadStudyError(names)
    one, other = (list(frames_of(*pair)) for pair in (first, second))
    if len(one) != len(other) or not all(map(_same_place, one, other)):
        raise BadStudyError(f"{names}: they differ in position, orientation or pixel spacing")
    if first[1].get("PixelData") != second[1].get("PixelData") or _scales(one) != _scales(other):
        for pair in zip(one, other, strict=True):
            if not np.array_equal(_units(pair[0]), _units(pair[1])):
                raise BadStudyError(f"{names}: their pixels differ; keep one of the two in the site's folder")


def _same_place(one: Frame, other: Frame) -> bool:
    return (
        np.allclose(one.position, other.position, rtol=0, atol=_COPIED)
        and np.allclose(one.orientation, other.orientation, rtol=0, atol=_COPIED)
        and np.allclose(one.pixel_spacing, other.pixel_spacing, rtol=0, atol=_COPIED)
    )


def _scales(frames: Sequence[Frame]) -> list[tuple[float | None, float | None]]:
    return [(frame.slope, frame.intercept) for frame in frames]


def _units(frame: Frame) -> npt.NDArray[np.float32]:
    check_format(frame)
    out = np.empty(frame.shape, np.float32)
    write_units(frame, out)
    return out
