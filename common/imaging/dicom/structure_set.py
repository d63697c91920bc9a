"""Masks of an RTSTRUCT: closed contours, filled on the slices of the volume that they were drawn on."""

from collections.abc import Collection

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from common.errors import BadStudyError
from common.imaging.dicom.contour import filled
from common.imaging.dicom.volume import DicomVolume

Mask = npt.NDArray[np.bool_]

_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR", "CLOSED_PLANAR_XOR")
_OFF_PLANE = 0.25
"""A contour may lie so many slice spacings from its slice: what rounding leaves, less than another series has."""


def structure_names(dataset: Dataset) -> dict[int, str]:
    """Number -> name in small letters of each structure. Two may share a name."""
    structures = dataset.get("StructureSetROISequence") or ()
    return {int(roi.ROINumber): str(roi.get("ROIName") or "").strip().casefold() for roi in structures}


def structure_masks(name: str, dataset: Dataset, volume: DicomVolume, names: Collection[str]) -> dict[str, Mask]:
    """The masks (Z, Y, X) of those ``names`` (small letters) that the structure set has.

    A pixel belongs to a structure if its centre lies inside an odd number of the structure's contours on its slice, so
    that an inner contour is a hole, as is what a keyhole leaves out (DICOM PS3.3 C.8.8.6.3).

    Args:
        name: of the file, for reasons.

    Raises:
        BadStudyError: another frame of reference than the volume's; contours that are not closed, lie between slices
            or on another slice than the one they name, or enclose no pixel.
    """
    _check_frames_of_reference(name, dataset, volume)
    titles = structure_names(dataset)
    slices, rows, columns = volume.voxels.shape
    to_index = np.linalg.inv(volume.affine)
    masks: dict[str, Mask] = {}
    for structure in dataset.get("ROIContourSequence") or ():
        title = titles.get(int(structure.ReferencedROINumber), "")
        contours = structure.get("ContourSequence") or ()
        if title not in names:
            continue
        mask = np.zeros((slices, rows, columns), np.bool_)
        for contour in contours:
            if contour.get("ContourGeometricType") not in _CLOSED:
                raise BadStudyError(f"{name}: {title} has contours that are not closed")
            points = np.array(contour.ContourData, np.float64).reshape(-1, 3)
            points = points @ to_index[:3, :3].T + to_index[:3, 3]
            z = _slice(name, title, contour, points[:, 2], volume)
            mask[z] ^= filled(points[:, :2], (rows, columns))
        if len(contours) and not mask.any():
            raise BadStudyError(f"{name}: the contours of {title} enclose no pixel of the images")
        masks[title] = mask | masks[title] if title in masks else mask
    return masks


def _slice(name: str, title: str, contour: Dataset, heights: npt.NDArray[np.float64], volume: DicomVolume) -> int:
    """The slice on which a contour lies, from the heights of its points in slices."""
    if len(heights) == 0 or not np.isfinite(heights).all():
        raise BadStudyError(f"{name}: a contour of {title} has points that are no numbers")
    z = round(float(heights.mean()))
    if np.abs(heights - z).max() > _OFF_PLANE:
        raise BadStudyError(f"{name}: a contour of {title} does not lie on a slice of the images")
    if not 0 <= z < len(volume.sop_uids):
        raise BadStudyError(f"{name}: a contour of {title} lies outside the images")
    named = {str(image.ReferencedSOPInstanceUID) for image in contour.get("ContourImageSequence") or ()}
    if named & set(volume.sop_uids) and volume.sop_uids[z] not in named:
        raise BadStudyError(f"{name}: a contour of {title} lies on another slice than the one it names")
    return z


def _check_frames_of_reference(name: str, dataset: Dataset, volume: DicomVolume) -> None:
    theirs = {
        str(roi.get("ReferencedFrameOfReferenceUID") or "") for roi in dataset.get("StructureSetROISequence") or ()
    }
    if volume.frame_of_reference and theirs - {"", volume.frame_of_reference}:
        raise BadStudyError(f"{name}: lies in another frame of reference than the images")
