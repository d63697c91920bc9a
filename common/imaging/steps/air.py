"""Air: what lies around a head, where a scanner's noise makes it grey."""

from dataclasses import dataclass
from typing import TypeVar

import fill_voids
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from common.imaging.steps.study import Mask, Volume

Scalar = TypeVar("Scalar", bound=np.generic)

DARK = 0.02
"""Of bright tissue: what stands out by less is background."""
_SLICES, _PIXELS = 32, 160
"""So many slices of a volume, and so many pixels along each side of them, are looked at: enough for one level."""
_RIM = 3
"""Pixels along the edge of what was scanned that are air, except where the head touches the edge."""
_MARGIN = 2
"""Pixels at that edge which the interpolation of a turned image has mixed with black."""
_SPREADS = 3.0
"""Standard deviations above its mean that little noise reaches in a smoothed image."""
_GREY = 0.2
"""Of the range from black to bright tissue: what is brighter than this is no air."""
_ALONE = 0.5
"""Where air is brighter than this share of all that is bright in the picture, there is nothing but air in it."""
_UNEVEN = 0.28
"""Standard deviation of noise by its mean: 0.52 for Rayleigh noise, about half of it where four pixels became one."""
_GRAIN = 0.6
"""Standard deviation of a smoothed image by that of the image itself: a third for noise, nearly 1 for tissue."""
_STEP, _WIDE, _RESTS, _SHARP, _SKIN = 1.25, 3, 0.05, 0.7, 0.25
"""An outline rests where a level ``_STEP ** _WIDE`` times as high shrinks it by less than ``_RESTS``, and the image
changes across it by ``_SHARP`` of what it changes across any; levels are tried up to ``_SKIN`` of bright tissue."""
_CROSS = np.array([[[0, 1, 0], [1, 1, 1], [0, 1, 0]]], bool)
_FRINGE = 0.016
"""Half the width of what is taken for a fringe of noise at a head, as a share of the picture."""
_PATCH = (1, 5, 5)
"""A border is even over patches of so many pixels, which noise of few grey values hardly ever is."""
_SQUARE = np.ones((1, 3, 3), bool)


@dataclass(frozen=True)
class Air:
    """The grey air of a volume.

    Attributes:
        ends: the value above which it is tissue, in the image and in the smoothed image.
        everywhere: nothing stands out of it.
    """

    ends: float
    everywhere: bool


def smoothed(image: Volume) -> Volume:
    """(Z, Y, X) the mean of nine pixels in the plane: a third of the noise."""
    return np.asarray(ndimage.uniform_filter(image, size=(1, 3, 3), mode="nearest"), dtype=np.float32)


def grey_air(channel: Volume, background: float, bright: float) -> Air | None:
    """The noise around a head in one (Z, Y, X) volume; None where air is black, or where there is no air.

    Looked at is what lies along the edge of the part that was scanned, which is the picture without the even borders
    that were added to it. The head may touch up to 40% of this edge. It is air if it is dark beside bright tissue, or
    if there is nothing but noise in the picture.

    Args:
        channel: a study's values of one contrast.
        background: the value that black has along most of the picture's edge.
        bright: how far bright tissue stands out from it; noise of less than 2% of that is none.
    """
    steps = [max(1, -(-n // most)) for n, most in zip(channel.shape, (_SLICES, _PIXELS, _PIXELS), strict=True)]
    # Every n-th pixel, not the mean of n: noise stays what it is.
    image = np.ascontiguousarray(channel[:: steps[0], :: steps[1], :: steps[2]])
    scanned, black = _scanned(image)
    image = image - black
    grey = smoothed(image)
    dark = DARK * bright
    rim = np.sort(grey[_rim(scanned)])
    # No air is darker than black: a study that has been stored as z-scores is, without what lay around it.
    if not rim.size or np.count_nonzero(image < -dark) > 0.1 * np.count_nonzero(scanned):
        return None
    air = rim[: -(-len(rim) * 6 // 10)]
    level = float(np.median(air))
    spread = 1.4826 * float(np.median(np.abs(air - level)))
    # Noise is uneven, and much less so once smoothed; a patch of tissue is neither.
    brightest = float(np.percentile(grey[scanned], 99))
    uneven = float(image[scanned].std())
    grain = uneven > _UNEVEN * level and float(grey[scanned].std()) < _GRAIN * uneven
    if level > _ALONE * brightest and (grain or level < _GREY * bright):
        return Air(black + brightest, everywhere=True)
    if level > _GREY * bright:
        return None
    rests = _where_the_outline_rests(image, grey, max(dark, level + _SPREADS * spread), bright)
    # Rayleigh noise, which air has, is below three times its mean.
    quiet = rests == dark and black == background and 3 * level <= dark
    return None if quiet else Air(black + rests, everywhere=False)


def _where_the_outline_rests(image: Volume, grey: Volume, lowest: float, bright: float) -> float:
    """The level from ``lowest`` on at which the outline of a head lies where the image changes most.

    Noise is stronger here than there, and what moves (eyes, blood) leaves bands beside the head: a level in the middle
    of them draws an outline around half of the picture. Between air and skin there is nothing: there the outline hardly
    moves from level to level, and runs along the skin.
    """
    levels = [lowest]
    while levels[-1] * _STEP < _SKIN * bright:
        levels.append(levels[-1] * _STEP)
    beyond = [levels[-1] * _STEP**n for n in range(1, _WIDE + 1)]
    parts = [_largest(_stands_out(image, grey, level)) for level in [*levels, *beyond]]
    areas = np.array([part.sum() for part in parts], dtype=np.float64)
    shrinks = 1 - areas[_WIDE:] / np.maximum(areas[:-_WIDE], 1)
    change = _change(grey)
    edge = np.array([_along(part, change) for part in parts[: len(levels)]])
    sharp = edge >= _SHARP * edge.max()
    resting = np.flatnonzero(sharp & (shrinks <= _RESTS))
    return levels[int(resting[0] if len(resting) else np.where(sharp, shrinks, np.inf).argmin())]


def _largest(mask: Mask) -> Mask:
    """The largest part of each slice."""
    kept = np.zeros_like(mask)
    for plane, out in zip(mask, kept, strict=True):
        parts, count = ndimage.label(plane)
        if count:
            np.equal(parts, 1 + np.bincount(parts.ravel())[1:].argmax(), out=out)
    return kept


def _change(grey: Volume) -> Volume:
    return np.asarray(ndimage.maximum_filter(grey, _PATCH) - ndimage.minimum_filter(grey, _PATCH), dtype=np.float32)


def _along(mask: Mask, change: Volume) -> float:
    """How much an image changes across the outline of a mask, where the outline is not the picture's edge."""
    outline = mask & ~ndimage.binary_erosion(mask, _CROSS, border_value=1)
    return float(np.median(change[outline])) if outline.any() else 0.0


def out_of_air(channel: Volume, air: Air) -> Mask:
    """(Z, Y, X) True where there is no air: what stands out, with the holes of each slice filled.

    Left out are fringes, and parts of a slice whose outline is less than half as sharp as the sharpest one's, as that
    of a corner in which noise is stronger.
    """
    grey = smoothed(channel)
    found = _stands_out(channel, grey, air.ends)
    for plane, change in zip(found, _change(grey), strict=True):
        parts, _ = ndimage.label(plane)
        sizes = np.bincount(parts.ravel())[1:]
        large = 1 + np.flatnonzero(sizes >= 0.1 * sizes.max(initial=1))
        sharp = [_along((parts == part)[None], change[None]) for part in large]
        for part, edge in zip(large, sharp, strict=True):
            if edge < 0.5 * max(sharp):
                plane[parts == part] = False
    return found


def _stands_out(image: Volume, grey: Volume, level: float) -> Mask:
    shown = (image > level) & (grey > level)
    filled = np.stack([fill_voids.fill(plane) for plane in shown]).astype(np.uint8)
    reach = max(1, round(max(image.shape[1:]) * _FRINGE))
    # Filters of grey values go along one axis after the other: ten times as fast as those of masks.
    eroded = ndimage.minimum_filter(filled, (1, 2 * reach + 1, 2 * reach + 1), mode="constant")
    return np.asarray(ndimage.maximum_filter(eroded, (1, 2 * reach + 1, 2 * reach + 1), mode="constant") > 0)


def _scanned(image: Volume) -> tuple[Mask, float]:
    """(Z, Y, X) True where the picture is not an even border, and the value of black: the border's, else the least."""
    even = ndimage.maximum_filter(image, _PATCH) == ndimage.minimum_filter(image, _PATCH)
    at_edge = np.concatenate([edge.ravel() for edge in edges(np.where(even, image, np.nan))])
    levels, counts = np.unique(at_edge[~np.isnan(at_edge)], return_counts=True)
    if not levels.size:
        return np.ones(image.shape, bool), float(image.min())
    black = float(levels[counts.argmax()])
    border = ndimage.binary_dilation(even & (image == black), np.ones(_PATCH)) & (image == black)
    scanned = ndimage.binary_opening(~border, _SQUARE)
    return np.stack([ndimage.binary_fill_holes(plane) for plane in scanned]), black


def edges(volume: npt.NDArray[Scalar]) -> list[npt.NDArray[Scalar]]:
    """The four outermost in-plane sides of a (Z, Y, X) volume."""
    return [volume[:, 0], volume[:, -1], volume[:, :, 0], volume[:, :, -1]]


def _rim(scanned: Mask) -> Mask:
    margin, rim = (ndimage.binary_erosion(scanned, _SQUARE, iterations=n) for n in (_MARGIN, _MARGIN + _RIM))
    return np.asarray(margin & ~rim)
