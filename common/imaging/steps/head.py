"""The head in an MRI whose air is not black: what a scanner's noise, and borders that were added, hide from the simple
rule."""

import numpy as np
import numpy.typing as npt
import SimpleITK
from scipy import ndimage

from common.imaging.steps.study import Mask, Volume

Plane = npt.NDArray[np.float32]

_BLUR = 1.0
"""Pixels; the noise of single pixels goes, and the outline of a head stays within one."""
_BINS = 256
_FAINT = 0.25
"""An image whose threshold is below this share of the patient's usual one shows noise alone."""
_CONTRAST = 2.0
"""A head is at least so many times as bright as what lies around it; the brighter part of noise is not."""
_GRAIN = 0.6
"""What blurring leaves of the standard deviation: a third of noise, nearly all of tissue."""
_PART, _AS_BRIGHT = 0.1, 0.5
"""A part belongs to the head if it adds a tenth of what the largest adds above the threshold, and is half as bright."""
_CLOSING = 0.04
"""Of the longer side: gaps in the scalp and open air cells are closed, so that what they enclose is filled."""


def heads(volume: Volume, *, single: bool = False) -> Mask:
    """(Z, Y, X) True in the head on each slice, told from air by Li's threshold of minimum cross entropy.

    It needs no black background, as a share of the brightest value does. Slices that show nothing but noise are empty;
    those that show nothing but tissue are full.

    Args:
        volume: (Z, Y, X) one contrast of one patient.
        single: slices are images of their own, each with its own scale and threshold.

    Source: Li and Tam 1998, An iterative algorithm for minimum cross entropy thresholding; as SimpleITK computes it.
    """
    volume = volume - np.float32(min(0.0, volume.min()))  # cross entropy is of values above 0
    smooth = np.asarray(ndimage.gaussian_filter(volume, (0, _BLUR, _BLUR)), dtype=np.float32)
    levels = [_threshold(plane) for plane in smooth] if single else [_threshold(smooth)] * len(smooth)
    known = [level for level in levels if np.isfinite(level)]
    least = _FAINT * float(np.percentile(known, 75)) if known else np.inf
    return np.stack(
        [
            _head(stored, plane, level) if least <= level < np.inf else np.zeros(plane.shape, bool)
            for stored, plane, level in zip(volume, smooth, levels, strict=True)
        ]
    )


def _threshold(image: Volume) -> float:
    """Infinite where all values are equal."""
    if image.min() == image.max():
        return np.inf
    method = SimpleITK.LiThresholdImageFilter()
    method.SetNumberOfHistogramBins(_BINS)
    method.Execute(SimpleITK.GetImageFromArray(np.ascontiguousarray(image)))
    return float(method.GetThreshold())


def _head(stored: Plane, plane: Plane, level: float) -> Mask:
    """(Y, X) the bright parts of one slice, closed and filled; ``plane`` is the blurred one."""
    parts, _ = ndimage.label(ndimage.binary_opening(plane > level))
    areas = np.maximum(1, np.bincount(parts.ravel()))
    adds = np.bincount(parts.ravel(), weights=(plane - level).ravel())
    adds[0] = 0
    large = adds >= max(_PART * adds.max(), 1e-9)
    bright = adds / areas
    head = (large & (bright >= _AS_BRIGHT * bright[large].max(initial=0)))[parts]
    if not head.any():
        return np.asarray(head)
    head = _closed(head)
    if head.all() or plane[head].mean() >= _CONTRAST * plane[~head].mean():
        return head
    return np.full_like(head, plane.std() > _GRAIN * stored.std())


def _closed(head: Mask) -> Mask:
    """Closed by a disc, with its holes filled."""
    reach = max(1, round(_CLOSING * max(head.shape)))
    padded = np.pad(head, reach)
    grown = ndimage.distance_transform_edt(~padded) <= reach
    closed = (ndimage.distance_transform_edt(grown) > reach) | padded
    return np.asarray(ndimage.binary_fill_holes(closed)[reach:-reach, reach:-reach])
