"""Masks of a DICOM SEG, put on the grid of the volume that they were drawn on."""

from collections.abc import Collection

import highdicom as hd
import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from common.errors import BadStudyError
from common.imaging.dicom.volume import DicomVolume

Mask = npt.NDArray[np.bool_]

_MOST_FACTOR = 8
"""A segmentation may span so many times the voxels of its volume; damaged positions span millions."""


def segment_labels(dataset: Dataset) -> dict[int, str]:
    """Segment number -> label in small letters, as the segmentation describes them. Two may share a label."""
    segments = dataset.get("SegmentSequence") or ()
    return {int(s.SegmentNumber): str(s.get("SegmentLabel") or "").strip().casefold() for s in segments}


def segment_masks(name: str, dataset: Dataset, volume: DicomVolume, names: Collection[str]) -> dict[str, Mask]:
    """The masks (Z, Y, X) of those ``names`` (small letters) that the segmentation has.

    Segments that share a label are joined. Segments may overlap, and frames without a pixel may be left out. Of a
    FRACTIONAL segmentation a voxel counts from one half.

    Args:
        name: of the file, for reasons.

    Raises:
        BadStudyError: another frame of reference than the volume's, a grid that is not the volume's, or a mask of
            which half or more lies outside.
    """
    theirs = str(dataset.get("FrameOfReferenceUID") or "")
    if theirs and volume.frame_of_reference and theirs != volume.frame_of_reference:
        raise BadStudyError(f"{name}: lies in another frame of reference than the images")
    masks: dict[str, Mask] = {}
    wanted = {number: label for number, label in segment_labels(dataset).items() if label in names}
    if not wanted:
        return masks
    _state_slice_spacing(dataset, volume.spacing[0])
    try:
        segmentation = hd.seg.Segmentation.from_dataset(dataset, copy=False)
        _check_extent(name, segmentation, volume)
        for number, label in wanted.items():
            mask = _placed(name, segmentation, number, volume)
            masks[label] = mask | masks[label] if label in masks else mask
    except BadStudyError:
        raise
    except RuntimeError as error:
        raise BadStudyError(f"{name}: its segments do not lie on the grid of the images") from error
    return masks


def _placed(name: str, segmentation: hd.seg.Segmentation, number: int, volume: DicomVolume) -> Mask:
    drawn = segmentation.get_volume(segment_numbers=[number], combine_segments=False)
    placed = drawn.match_geometry(_geometry(volume))
    inside = np.asarray(placed.array[..., 0] >= 0.5, dtype=np.bool_)
    if 2 * np.count_nonzero(inside) < np.count_nonzero(drawn.array >= 0.5):
        raise BadStudyError(f"{name}: segment {number} lies outside the images")
    return inside


def _geometry(volume: DicomVolume) -> hd.VolumeGeometry:
    """highdicom counts along (slice, row, column), the volume's affine along (x, y, z)."""
    return hd.VolumeGeometry(
        volume.affine[:, [2, 1, 0, 3]],
        volume.voxels.shape,
        coordinate_system="PATIENT",
        frame_of_reference_uid=volume.frame_of_reference or None,
    )


def _state_slice_spacing(dataset: Dataset, spacing: float) -> None:
    """Adds the distance between slices where it is missing: frames left out make it impossible to tell otherwise."""
    shared = list(dataset.get("SharedFunctionalGroupsSequence") or ())
    for group in shared + list(dataset.get("PerFrameFunctionalGroupsSequence") or ()):
        for measures in group.get("PixelMeasuresSequence") or ():
            if "SpacingBetweenSlices" not in measures:
                measures.SpacingBetweenSlices = f"{spacing:.10g}"


def _check_extent(name: str, segmentation: hd.seg.Segmentation, volume: DicomVolume) -> None:
    geometry = segmentation.get_volume_geometry()
    if geometry is None:
        raise BadStudyError(f"{name}: its frames form no volume of evenly spaced slices")
    if np.prod(geometry.spatial_shape, dtype=float) > _MOST_FACTOR * volume.voxels.size:
        raise BadStudyError(f"{name}: spans far more than the images")
