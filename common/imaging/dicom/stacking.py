"""Slices become a grid: their order, spacing and place, from positions alone, and every reason why they do not."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from common.errors import BadStudyError
from common.imaging.dicom.frames import Frame

SPACING_TOLERANCE = 0.01
"""A step between slices may differ by this share from the usual one."""

_ROUNDING = 1e-3
"""Millimetres (and direction cosines) that are put down to how scanners round decimal strings."""

_LARGEST_SHEAR = 0.01
"""In-plane shift by millimetre along the normal, 0.6 degrees: above it, the gantry was tilted."""


@dataclass(frozen=True)
class Stack:
    """Slices in ascending order along their normal.

    Attributes:
        frames: in that order.
        spacing: millimetres along (z, y, x): from slice to slice, row to row, column to column.
        affine: (4, 4) from the index (x, y, z) to LPS millimetres.
    """

    frames: tuple[Frame, ...]
    spacing: tuple[float, float, float]
    affine: npt.NDArray[np.float64]


def stack(frames: Sequence[Frame]) -> Stack:
    """The grid on which the slices lie.

    Raises:
        BadStudyError: fewer than two slices; slices of several sizes, spacings, orientations or frames of reference;
            two at one position; one missing; irregular steps; a tilted gantry.
    """
    if len(frames) < 2:
        raise BadStudyError(f"{len(frames)} slice is no volume" if frames else "no slice is left")
    first = frames[0]
    _check_alike(frames)
    row, column = first.orientation
    normal = np.cross(row, column)
    lengths = np.linalg.norm(first.orientation, axis=1)
    if not np.allclose(lengths, 1, atol=0.01) or abs(row @ column) > 0.01:
        raise BadStudyError(f"{first.name}: ImageOrientationPatient is no pair of directions at a right angle")
    positions = np.stack([frame.position for frame in frames])
    order = np.argsort(positions @ normal, kind="stable")
    ordered = tuple(frames[i] for i in order)
    positions = positions[order]
    heights = positions @ normal
    _check_heights(ordered, heights)
    _check_upright(ordered, positions, normal)
    step = (positions[-1] - positions[0]) / (len(frames) - 1)
    y, x = first.pixel_spacing
    affine = np.eye(4)
    affine[:3] = np.stack([row * x, column * y, step, positions[0]], axis=1)
    return Stack(ordered, (float(np.linalg.norm(step)), y, x), affine)


def _check_alike(frames: Sequence[Frame]) -> None:
    """All slices have the size, pixel spacing, orientation and frame of reference of the first."""
    first = frames[0]
    if min(first.pixel_spacing) <= 0:
        raise BadStudyError(f"{first.name}: PixelSpacing is not positive")
    rows, columns = first.shape
    for frame in frames[1:]:
        if frame.shape != first.shape:
            raise BadStudyError(
                f"mixed series: {first.name} has {rows}x{columns} pixels, {frame.name} "
                f"{frame.shape[0]}x{frame.shape[1]}"
            )
        if not np.allclose(frame.pixel_spacing, first.pixel_spacing, rtol=_ROUNDING, atol=0):
            raise BadStudyError(f"mixed series: {first.name} and {frame.name} differ in PixelSpacing")
        if np.abs(frame.orientation - first.orientation).max() > _ROUNDING:
            raise BadStudyError(f"mixed series: {first.name} and {frame.name} have different orientations")
        if frame.dataset.Modality != first.dataset.Modality:
            raise BadStudyError(f"mixed series: {first.name} and {frame.name} are of different modalities")
        if frame.dataset.get("FrameOfReferenceUID") != first.dataset.get("FrameOfReferenceUID"):
            raise BadStudyError(f"mixed series: {first.name} and {frame.name} have different frames of reference")


def _check_heights(frames: Sequence[Frame], heights: npt.NDArray[np.float64]) -> None:
    """Every step along the normal is the same."""
    steps = np.diff(heights)
    usual = float(np.median(steps))
    for lower, upper, step, height in zip(frames, frames[1:], steps, heights, strict=False):
        if step < max(0.02 * usual, _ROUNDING):
            raise BadStudyError(f"{lower.name} and {upper.name} are two slices at one position, {height:.2f} mm")
    uneven = np.flatnonzero(np.abs(steps - usual) > SPACING_TOLERANCE * usual + _ROUNDING)
    if len(uneven) == 0:
        return
    at = int(uneven[0])
    missing = steps[at] / usual - 1
    if len(uneven) <= 0.1 * len(steps) + 1 and missing > 0.5 and abs(missing - round(missing)) < 0.05:
        raise BadStudyError(
            f"gap: {round(missing)} slices are missing between {frames[at].name} and {frames[at + 1].name}"
        )
    raise BadStudyError(
        f"irregular spacing: steps of {steps.min():.3f} to {steps.max():.3f} mm, e.g. between {frames[at].name} "
        f"and {frames[at + 1].name}"
    )


def _check_upright(
    frames: Sequence[Frame], positions: npt.NDArray[np.float64], normal: npt.NDArray[np.float64]
) -> None:
    """The slices lie straight above each other, along their normal."""
    offsets = positions - positions[0]
    height = float(offsets[-1] @ normal)
    sheared = offsets[-1] - height * normal
    shear = float(np.linalg.norm(sheared)) / height
    if shear > _LARGEST_SHEAR:
        stated = frames[0].dataset.get("GantryDetectorTilt")
        header = f", its header says {float(stated):g}" if stated not in (None, "") else ""
        raise BadStudyError(
            f"gantry tilt: the slices are sheared by {np.degrees(np.arctan(shear)):.1f} degrees{header}"
        )
    strays = np.linalg.norm(offsets - np.outer(offsets @ normal / height, offsets[-1]), axis=1)
    if strays.max() > 0.5 * min(frames[0].pixel_spacing):
        worst = int(strays.argmax())
        raise BadStudyError(f"{frames[worst].name}: lies {strays[worst]:.1f} mm beside the other slices")
