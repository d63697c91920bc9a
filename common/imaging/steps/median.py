"""Median filter: takes out single noisy pixels and keeps edges."""

import numpy as np
import SimpleITK

from common.imaging.steps.study import Volume


def median_in_plane(channel: Volume, radius: int) -> Volume:
    """(Z, Y, X) with each pixel the median of the (2 radius + 1) squared around it in its own slice.

    At the border the outermost pixels are repeated.

    >>> speck = np.zeros((1, 5, 5), np.float32)
    >>> speck[0, 2, 2] = 9
    >>> float(median_in_plane(speck, 1).max())
    0.0
    """
    filtered = SimpleITK.Median(SimpleITK.GetImageFromArray(channel), [radius, radius, 0])
    return np.asarray(SimpleITK.GetArrayFromImage(filtered), dtype=np.float32)
