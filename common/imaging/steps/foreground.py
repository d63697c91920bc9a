"""Foreground: what of an image is the patient."""

from typing import TypeVar

import cc3d
import fill_voids
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from common.errors import BadStudyError
from common.imaging.steps.head import heads
from common.imaging.steps.study import Box, Labels, Mask, Volume

Scalar = TypeVar("Scalar", bound=np.generic)

BODY_HU = -500.0
"""Between air (-1000) and fat (-100): above it is body."""

AIR_HU = -950.0
"""Between the air around a body, foam and blankets included, and a lung (about -850)."""
AIR_IN_PICTURES = -972.0
"""The same in pictures, whose black and white are no Hounsfield units to rely on: of 853 crops around nodules, the
middle value of no lung was below -967 and that of no air above -977."""
_DARK = 0.02
"""Of bright tissue: what stands out by less is background."""
_GREY, _LOOKED_AT = 1.05, 12
"""Air is grey where the simple rule finds so many times as much as there is of heads, on about so many slices."""
_FAR = 0.2
"""Of bright tissue: what differs more from the background is not noise."""
_NOTHING = "nothing stands out from the background"
_MANY_VOXELS = 1_000_000

IN_PLANE = ndimage.generate_binary_structure(3, 1) & np.array([False, True, False])[:, None, None]
"""Neighbours within a slice, for ``scipy.ndimage``."""


def mri_foreground(images: Volume, *, single: bool = False) -> Mask:
    """(Z, Y, X) True inside the head, or inside the brain of a skull-stripped study; from images (C, Z, Y, X).

    Inside is what stands out from the background in at least one contrast, by more than 2% of the bright tissue, with
    the holes of every slice filled and specks left out. The background is the median of the slices' edges. Values
    below it count only where they are many (a study stored as z-scores): the few that real studies have outside the
    brain are ringing from resampling. Where a scanner's noise makes the air grey, inside is what stands out from that.

    Args:
        single: slices are images of their own, not neighbours: each is judged by itself, and may show nothing.

    Raises:
        BadStudyError: if no voxel stands out.
    """
    slabs = [slice(z, z + 1) for z in range(images.shape[1])] if single else [slice(None)]
    inside = np.zeros(images.shape[1:], bool)
    for channel in images:
        bright = [_bright(channel[slab]) for slab in slabs]
        # What is bright at all is the same for all images of a patient: one without a head has nothing bright.
        usual = float(np.percentile(bright, 75))
        simple = np.concatenate([_standing_out(channel[slab], usual) for slab in slabs])
        inside |= _told_from_air(channel, simple, single=single)
    if not inside.any():
        raise BadStudyError(_NOTHING)
    return np.concatenate([solid(inside[slab]) if inside[slab].any() else inside[slab] for slab in slabs])


def _background(channel: Volume) -> float:
    return float(np.median(_sides(channel)))


def _sides(channel: Volume) -> npt.NDArray[np.float32]:
    """The outermost in-plane voxels of a (Z, Y, X) volume."""
    sides = (channel[:, 0], channel[:, -1], channel[:, :, 0], channel[:, :, -1])
    return np.concatenate([side.ravel() for side in sides])


def _bright(channel: Volume) -> float:
    """How far the bright tissue of a (Z, Y, X) volume stands out from the background."""
    rows = np.ascontiguousarray(channel[:, ::3])  # Twice as fast as picking every third voxel straight away.
    sample = rows[:, :, ::3] - _background(channel)
    np.abs(sample, out=sample)
    return float(np.percentile(sample[sample > 0], 99)) if sample.any() else 0.0


def _standing_out(channel: Volume, bright: float) -> Mask:
    """(Z, Y, X) True where a volume of one contrast is not background."""
    background = _background(channel)
    above, below = channel > background + _DARK * bright, channel < background - _DARK * bright
    return above | below if np.count_nonzero(below) > 0.1 * np.count_nonzero(above) else above


def _told_from_air(channel: Volume, simple: Mask, *, single: bool) -> Mask:
    """What the simple rule found or, where that is mostly grey air, the heads in it."""
    background, bright = _background(channel), _bright(channel)
    brighter = np.count_nonzero(channel > background + _FAR * bright)
    darker = np.count_nonzero(channel < background - _FAR * bright)
    even = np.count_nonzero(np.abs(_sides(channel) - background) <= _DARK * bright) > 0.5 * _sides(channel).size
    if brighter < 0.1 * darker:
        channel = -channel  # black and white are exchanged
    elif darker > 0.1 * brighter and even:
        return simple  # z-scores of tissue alone, on both sides of the background
    if single:
        found = heads(channel, single=True)
        grey = np.count_nonzero(simple, axis=(1, 2)) > _GREY * np.count_nonzero(found, axis=(1, 2))
        no_air = found.all(axis=(1, 2))
        return np.where((grey | no_air)[:, None, None], found, simple)
    step = max(1, len(channel) // _LOOKED_AT)
    sample = heads(channel[::step])
    if np.count_nonzero(simple[::step]) <= _GREY * np.count_nonzero(sample):
        return simple
    return heads(channel)


def ct_foreground(images: Volume, *, single: bool = False) -> Mask:
    """(Z, Y, X) True inside the body (lungs and bowel gas included); from images (1, Z, Y, X) in HU.

    Images that were stored with a narrow window have no air: there the body is what stands out from the background.

    Args:
        single: slices are images of their own: each is judged by itself, and may be a part of a lung.

    Raises:
        BadStudyError: if nothing is denser than air.
    """
    if images.min() > BODY_HU:
        return mri_foreground(images, single=single)
    dense = images[0] > BODY_HU
    inside = np.stack([solid(one[None])[0] if one.any() else one for one in dense]) if single else solid(dense)
    for shown, plane in zip(inside, images[0], strict=True):
        shown |= _lung_at_the_edge(plane, shown, AIR_IN_PICTURES if single else AIR_HU)
    if not inside.any():
        raise BadStudyError(_NOTHING)
    return inside


def _lung_at_the_edge(plane: npt.NDArray[np.float32], body: npt.NDArray[np.bool_], air: float) -> npt.NDArray[np.bool_]:
    """(Y, X) the lung in a picture that cuts it: it reaches the edge as the air around a body does, but is denser."""
    parts, _ = ndimage.label(~body)
    sizes = np.bincount(parts.ravel())[1:]
    large = 1 + np.flatnonzero(sizes >= 0.01 * body.size)
    lung = [part for part in large if np.median(plane[parts == part]) > air]
    if not lung or not body.any():
        return np.zeros_like(body)
    # What lies in a lung without being a large part of the picture: vessels, nodules.
    return np.asarray(fill_voids.fill(body | np.isin(parts, lung)))


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
        raise BadStudyError(_NOTHING)
    from_above = np.any(mask, axis=0)
    shown = (np.any(mask, axis=(1, 2)), np.any(from_above, axis=1), np.any(from_above, axis=0))
    z, y, x = (slice(int(hits[0]), int(hits[-1]) + 1) for hits in map(np.flatnonzero, shown))
    return z, y, x


def foreground_share(inside: Mask) -> npt.NDArray[np.float64]:
    """(Z,) share of foreground pixels in each slice of a cropped (Z, Y, X) mask."""
    return np.asarray(inside.mean(axis=(1, 2), dtype=np.float64))
