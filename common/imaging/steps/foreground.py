"""Foreground: what of an image is the patient."""

from typing import TypeVar

import cc3d
import fill_voids
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from common.errors import BadStudyError
from common.imaging.steps.study import Box, Labels, Mask, Volume

Scalar = TypeVar("Scalar", bound=np.generic)

BODY_HU = -500.0
"""Between air (-1000) and fat (-100): above it is body."""

_MANY_VOXELS = 1_000_000

IN_PLANE = ndimage.generate_binary_structure(3, 1) & np.array([False, True, False])[:, None, None]
"""Neighbours within a slice, for ``scipy.ndimage``."""


def mri_foreground(images: Volume) -> Mask:
    """(Z, Y, X) True inside the head, or inside the brain of a skull-stripped study; from images (C, Z, Y, X).

    Inside is what stands out from the background in at least one contrast, by more than 2% of the bright tissue, with
    the holes of every slice filled and specks left out. The background is the median of the slices' edges. Values
    below it count only where they are many (a study stored as z-scores): the few that real studies have outside the
    brain are ringing from resampling.

    Raises:
        BadStudyError: if no voxel stands out.
    """
    inside, above, below = (np.zeros(images.shape[1:], bool) for _ in range(3))
    for channel in images:
        background = np.median(_edges(channel))
        rows = np.ascontiguousarray(channel[:, ::3])  # Twice as fast as picking every third voxel straight away.
        sample = rows[:, :, ::3] - background
        np.abs(sample, out=sample)
        bright = np.percentile(sample[sample > 0], 99) if sample.any() else 0.0
        inside |= np.greater(channel, background + 0.02 * bright, out=above)
        np.less(channel, background - 0.02 * bright, out=below)
        if np.count_nonzero(below) > 0.1 * np.count_nonzero(above):
            inside |= below
    return solid(inside)


def ct_foreground(images: Volume) -> Mask:
    """(Z, Y, X) True inside the body (lungs and bowel gas included); from images (1, Z, Y, X) in HU.

    Images that were stored with a narrow window have no air: there the body is what stands out from the background.

    Raises:
        BadStudyError: if nothing is denser than air.
    """
    if images.min() > BODY_HU:
        return mri_foreground(images)
    return solid(images[0] > BODY_HU)


def solid(mask: Mask) -> Mask:
    """The large connected parts of a (Z, Y, X) mask, with the holes of each slice filled.

    A part is large if it has a tenth of the voxels of the largest: slices of a slab may cut a brain in two.

    Raises:
        BadStudyError: if the mask is empty.
    """
    box = bounding_box(mask)
    filled = np.zeros_like(mask)
    filled[box] = np.stack([fill_voids.fill(plane) for plane in large_parts(mask[box])])
    return filled


def large_parts(mask: Mask) -> Mask:
    """The connected parts of a (Z, Y, X) mask with at least a tenth of the voxels of the largest.

    In a large volume, parts that come as close as a voxel in the plane count as connected.
    """
    if mask.size < _MANY_VOXELS:
        return _large_parts(mask)
    # Four pixels become one: a quarter of the work.
    even = np.pad(mask, ((0, 0), (0, mask.shape[1] % 2), (0, mask.shape[2] % 2)))
    coarse = even[:, ::2, ::2] | even[:, 1::2, ::2] | even[:, ::2, 1::2] | even[:, 1::2, 1::2]
    kept = _large_parts(coarse).repeat(2, axis=1).repeat(2, axis=2)
    return np.asarray(mask & kept[:, : mask.shape[1], : mask.shape[2]])


def _large_parts(mask: Mask) -> Mask:
    parts = cc3d.connected_components(mask, connectivity=6, binary_image=True)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return np.asarray(((sizes >= 0.1 * sizes.max()) & (sizes > 0))[parts])


def labels_inside(labels: Labels, inside: Mask) -> Labels:
    """Labels with those outside the foreground set to 0.

    Raises:
        BadStudyError: if more than half of the lesion lies outside: the mask belongs to another image.
    """
    lesion = np.count_nonzero(labels)
    kept = np.asarray(labels * inside, dtype=np.uint8)
    if np.count_nonzero(kept) < 0.5 * lesion:
        raise BadStudyError("the mask lies outside the foreground of the image")
    return kept


def bounding_box(mask: Mask) -> Box:
    """The smallest box around a (Z, Y, X) mask.

    >>> mask = np.zeros((3, 9, 9), bool)
    >>> mask[1, 4:6, 2] = True
    >>> bounding_box(mask)
    (slice(1, 2, None), slice(4, 6, None), slice(2, 3, None))

    Raises:
        BadStudyError: if the mask is empty.
    """
    if not mask.any():
        raise BadStudyError("nothing stands out from the background")
    from_above = np.any(mask, axis=0)
    shown = (np.any(mask, axis=(1, 2)), np.any(from_above, axis=1), np.any(from_above, axis=0))
    z, y, x = (slice(int(hits[0]), int(hits[-1]) + 1) for hits in map(np.flatnonzero, shown))
    return z, y, x


def foreground_share(inside: Mask) -> npt.NDArray[np.float64]:
    """(Z,) share of foreground pixels in each slice of a cropped (Z, Y, X) mask."""
    return np.asarray(inside.mean(axis=(1, 2), dtype=np.float64))


def _edges(volume: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
    """The outermost in-plane voxels of a (Z, Y, X) volume."""
    sides = (volume[:, 0], volume[:, -1], volume[:, :, 0], volume[:, :, -1])
    return np.concatenate([side.ravel() for side in sides])
