"""Masks of a DICOM SEG, put on the grid of the volume that they were drawn on."""

from collections.abc import Callable

import highdicom as hd
import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from common.errors import BadStudyError
from common.imaging.dicom.outlines import UNNAMED, Mask, Outlines, plain_name
from common.imaging.dicom.volume import DicomVolume
from common.imaging.remarks import Remark

Affine = npt.NDArray[np.float64]

_UNEVEN = 0.05
"""A frame may lie so many slice spacings beside its place."""

_OFF_GRID = 0.1
"""A corner of the segmentation may lie so many voxels beside a voxel of the images."""

_MOST_FACTOR = 8
"""A segmentation may span so many times the voxels of its volume; damaged positions span millions."""


def segment_labels(name: str, dataset: Dataset) -> dict[int, str]:
    """Segment number -> label, as ``plain_name`` writes it. Two may share a label.

    Number 0 is the background that a label map describes. A segment that is drawn and not described stands under
    ``UNNAMED``.

    Raises:
        BadStudyError: two segments have one number, so that their frames cannot be told apart.
    """
    labels: dict[int, str] = {}
    for segment in dataset.get("SegmentSequence") or ():
        number, label = int(segment.SegmentNumber), plain_name(segment.get("SegmentLabel"))
        if number > 0 and labels.setdefault(number, label) != label:
            raise BadStudyError(f"{name}: the segments {labels[number]} and {label} have one number")
    return {**dict.fromkeys(_drawn(dataset), UNNAMED), **labels}


def _drawn(dataset: Dataset) -> list[int]:
    """The numbers of the segments that frames, or the pixels of a label map, belong to."""
    if dataset.get("SegmentationType") == "LABELMAP":
        return [int(number) for number in np.unique(dataset.pixel_array) if number > 0]
    groups = dataset.get("PerFrameFunctionalGroupsSequence") or ()
    drawn = (
        item.ReferencedSegmentNumber for group in groups for item in group.get("SegmentIdentificationSequence") or ()
    )
    return sorted({int(number) for number in drawn})


def segment_masks(name: str, dataset: Dataset, volume: DicomVolume, wanted: Callable[[str], bool]) -> Outlines:
    """The segments (Z, Y, X) whose label is ``wanted``; those that share a label are joined.

    Segments may overlap, and frames without a pixel may be left out. Of a FRACTIONAL segmentation a voxel counts from
    one half.

    Args:
        name: of the file, for reasons.

    Raises:
        BadStudyError: another frame of reference than the volume's, a grid that is not the volume's, or a mask of
            which half or more lies outside.
    """
    theirs = str(dataset.get("FrameOfReferenceUID") or "")
    if theirs and volume.frame_of_reference and theirs != volume.frame_of_reference:
        raise BadStudyError(f"{name}: lies in another frame of reference than the images")
    found = Outlines({}, {}, ())
    chosen = {number: label for number, label in segment_labels(name, dataset).items() if wanted(label)}
    if not chosen:
        return found
    for segment in dataset.SegmentSequence:
        segment.SegmentLabel = segment.get("SegmentLabel") or UNNAMED  # Without one highdicom reads none of them.
    _state_slice_spacing(dataset, volume)
    cut_off = set()
    try:
        segmentation = hd.seg.Segmentation.from_dataset(dataset, copy=False)
        to_volume = _to_volume(name, segmentation, volume)
        for number, label in chosen.items():
            mask, is_whole = _placed(name, segmentation, number, volume, to_volume)
            found.masks[label] = mask | found.masks[label] if label in found.masks else mask
            cut_off.update([] if is_whole else [label])
    except RuntimeError as error:
        raise BadStudyError(f"{name}: its frames form no volume of evenly spaced slices") from error
    return Outlines(
        found.masks,
        {},
        tuple(Remark("guess", f"{label} without what lies outside the images") for label in sorted(cut_off)),
    )


def _placed(
    name: str, segmentation: hd.seg.Segmentation, number: int, volume: DicomVolume, to_volume: Affine
) -> tuple[Mask, bool]:
    """(Z, Y, X) one segment on the volume's grid, and whether all of it lies there."""
    values = segmentation.get_volume(segment_numbers=[number], combine_segments=False, rtol=_UNEVEN).array[..., 0]
    drawn = values >= 0.5 if values.dtype.kind == "f" else values != 0
    grid = _highdicom_affine(volume)
    here = hd.Volume(drawn.view(np.uint8), grid @ to_volume, "PATIENT")
    there = hd.VolumeGeometry(grid, volume.voxels.shape, "PATIENT")
    placed = np.ascontiguousarray(here.match_geometry(there).array)
    kept, all_drawn = np.count_nonzero(placed), np.count_nonzero(drawn)
    if 2 * kept < all_drawn:
        raise BadStudyError(f"{name}: segment {number} lies outside the images")
    return placed.view(np.bool_), kept == all_drawn


def _to_volume(name: str, segmentation: hd.seg.Segmentation, volume: DicomVolume) -> Affine:
    """(4, 4) from the segmentation's (slice, row, column) to the volume's, in whole numbers.

    Archives round positions and spacings, each program in its own way: a corner may miss its voxel by a tenth.
    """
    geometry = segmentation.get_volume_geometry(rtol=_UNEVEN)
    if geometry is None:
        raise BadStudyError(f"{name}: its frames form no volume of evenly spaced slices")
    shape = np.array(geometry.spatial_shape)
    if np.prod(shape, dtype=float) > _MOST_FACTOR * volume.voxels.size:
        raise BadStudyError(f"{name}: spans far more than the images")
    exact = np.linalg.inv(_highdicom_affine(volume)) @ geometry.affine
    whole = np.round(exact)
    corners = np.vstack([np.stack(np.meshgrid(*[[0, n - 1] for n in shape])).reshape(3, -1), np.ones(8)])
    if np.abs((exact - whole) @ corners).max() > _OFF_GRID or round(abs(np.linalg.det(whole))) != 1:
        raise BadStudyError(f"{name}: its segments do not lie on the grid of the images")
    return np.asarray(whole)


def _highdicom_affine(volume: DicomVolume) -> Affine:
    """highdicom counts along (slice, row, column), the volume's affine along (x, y, z)."""
    return volume.affine[:, [2, 1, 0, 3]]


def _state_slice_spacing(dataset: Dataset, volume: DicomVolume) -> None:
    """Gives parallel slices the images' distance from slice to slice.

    Where frames are left out it cannot be told from positions; many segmentations do not state it, state it rounded, or
    state the thickness of the slices instead.
    """
    shared = list(dataset.get("SharedFunctionalGroupsSequence") or ())
    groups = shared + list(dataset.get("PerFrameFunctionalGroupsSequence") or ())
    for group in groups:
        for plane in group.get("PlaneOrientationSequence") or ():
            row, column = np.reshape(np.array(plane.ImageOrientationPatient, np.float64), (2, 3))
            if abs(np.cross(row, column) @ volume.affine[:3, 2]) < 0.99 * volume.spacing[0]:
                return
    for group in groups:
        for measures in group.get("PixelMeasuresSequence") or ():
            measures.SpacingBetweenSlices = f"{volume.spacing[0]:.10g}"
