"""Masks of an RTSTRUCT: closed contours, filled on the slices of the volume that they were drawn on."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from common.errors import BadStudyError
from common.imaging.dicom.contour import filled
from common.imaging.dicom.nesting import Points, together
from common.imaging.dicom.outlines import UNNAMED, Mask, Outlines, plain_name
from common.imaging.dicom.volume import DicomVolume
from common.imaging.remarks import Remark

HOLE = Remark("guess", "an inner contour taken as a hole")

_XOR = ("CLOSEDPLANAR_XOR", "CLOSED_PLANAR_XOR")
_CLOSED = ("CLOSED_PLANAR", *_XOR)
_OFF_PLANE = 0.25
"""A contour may lie so many slice spacings from its slice: what rounding leaves, less than another series has."""


def structure_names(name: str, dataset: Dataset) -> dict[int, str]:
    """Number -> name, as ``plain_name`` writes it, of each structure. Two may share a name.

    Contours of a structure that is not described stand under ``UNNAMED``.

    Raises:
        BadStudyError: two structures have one number, so that their contours cannot be told apart.
    """
    names: dict[int, str] = {}
    for roi in dataset.get("StructureSetROISequence") or ():
        number, title = int(roi.ROINumber), plain_name(roi.get("ROIName"))
        if names.setdefault(number, title) != title:
            raise BadStudyError(f"{name}: the structures {names[number]} and {title} have one number")
    for drawn in dataset.get("ROIContourSequence") or ():
        names.setdefault(int(drawn.ReferencedROINumber), UNNAMED)
    return names


def structure_masks(name: str, dataset: Dataset, volume: DicomVolume, wanted: Callable[[str], bool]) -> Outlines:
    """The structures (Z, Y, X) whose name is ``wanted``; those that share a name are joined.

    How several contours of a structure on one slice are meant is told in ``nesting``; those of an XOR type hold what
    lies inside an odd number of them (DICOM PS3.3 C.8.8.6.3). Contours that enclose nothing, are not closed, or lie on
    no slice of the volume are left out.

    Args:
        name: of the file, for reasons.
    """
    contours: dict[int, list[Dataset]] = defaultdict(list)
    for structure in dataset.get("ROIContourSequence") or ():
        contours[int(structure.ReferencedROINumber)] += structure.get("ContourSequence") or ()
    elsewhere = {
        int(roi.ROINumber)
        for roi in dataset.get("StructureSetROISequence") or ()
        if volume.frame_of_reference
        and str(roi.get("ReferencedFrameOfReferenceUID") or "") not in ("", volume.frame_of_reference)
    }
    masks: dict[str, Mask] = {}
    unusable: dict[str, str] = {}
    remarks: set[Remark] = set()
    for number, title in structure_names(name, dataset).items():
        if not wanted(title):
            continue
        drawn = contours[number]
        if drawn and number in elsewhere:
            unusable[title] = f"{name}: {title} lies in another frame of reference than the images"
            continue
        mask, left_out, has_hole = _structure(drawn, volume)
        if drawn and not mask.any():
            why = " and ".join(sorted(left_out))
            unusable[title] = f"{name}: nothing of {title} can be used, its contours {why}"
            continue
        masks[title] = mask | masks[title] if title in masks else mask
        remarks.update(Remark("guess", f"{title} without contours that {why}") for why in left_out)
        remarks.update([HOLE] if has_hole else [])
    return Outlines(masks, unusable, tuple(sorted(remarks, key=lambda remark: remark.what)))


def _structure(contours: Iterable[Dataset], volume: DicomVolume) -> tuple[Mask, set[str], bool]:
    """One structure's mask, what is wrong with contours that it is without, and whether it has a hole by a guess."""
    on_slice: dict[int, list[tuple[bool, Points]]] = defaultdict(list)
    left_out = set()
    to_index = np.linalg.inv(volume.affine)
    for contour in contours:
        points = np.array(contour.get("ContourData") or (), np.float64).reshape(-1, 3)
        points = points @ to_index[:3, :3].T + to_index[:3, 3]
        kind = str(contour.get("ContourGeometricType") or "")
        if fault := next(_faults(contour, kind, points, volume), ""):
            left_out.add(fault)
        else:
            on_slice[round(float(points[:, 2].mean()))].append((kind in _XOR, points[:, :2]))
    slices, rows, columns = volume.voxels.shape
    mask = np.zeros((slices, rows, columns), np.bool_)
    holes = 0
    for z, drawn in on_slice.items():
        mask[z], taken_out = together([points for xor, points in drawn if not xor], (rows, columns))
        holes += taken_out
        for points in (points for xor, points in drawn if xor):
            mask[z] ^= filled(points, (rows, columns))
        if not mask[z].any():
            cancelled = any(filled(points, (rows, columns)).any() for _, points in drawn)
            left_out.add("cancel each other out" if cancelled else "enclose no pixel of the images")
    return mask, left_out, holes > 0


def _faults(contour: Dataset, kind: str, points: npt.NDArray[np.float64], volume: DicomVolume) -> Iterator[str]:
    """What is wrong with a contour, as the end of a sentence: the first thing counts.

    Args:
        points: (N, 3) indices (x, y, z) in the volume.
    """
    if kind == "POINT" or len(points) < 3:
        yield "have one or two points"
    if kind not in _CLOSED:
        yield "are not closed"
    heights = points[:, 2]
    if not np.isfinite(points).all():
        yield "have points that are no numbers"
        return
    z = round(float(heights.mean()))
    if np.abs(heights - z).max() > _OFF_PLANE:
        yield "do not lie on a slice of the images"
    if not 0 <= z < len(volume.sop_uids):
        yield "lie outside the images"
        return
    named = {str(image.ReferencedSOPInstanceUID) for image in contour.get("ContourImageSequence") or ()}
    if named & set(volume.sop_uids) and volume.sop_uids[z] not in named:
        yield "lie on another slice than the one they name"
