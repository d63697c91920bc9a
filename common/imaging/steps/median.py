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
    if radius == 1:
        return np.stack([_median_of_nine(plane) for plane in channel])
    filtered = SimpleITK.Median(SimpleITK.GetImageFromArray(channel), [radius, radius, 0])
    return np.asarray(SimpleITK.GetArrayFromImage(filtered), dtype=np.float32)


def _median_of_nine(plane: Volume) -> Volume:
    """The same for one slice (Y, X) and radius 1, in a third of the time.

    With the three pixels of each column in order, the median of nine is that of three: the largest of the lowest, the
    median of the middle ones, the smallest of the highest.

    Source: Paeth 1990, Median finding on a 3x3 grid, Graphics Gems.
    """
    padded = np.pad(plane, 1, mode="edge")
    low, middle, high = _in_order(padded[:-2], padded[1:-1], padded[2:])
    lowest = np.maximum(np.maximum(low[:, :-2], low[:, 1:-1]), low[:, 2:])
    _, median, _ = _in_order(middle[:, :-2], middle[:, 1:-1], middle[:, 2:])
    highest = np.minimum(np.minimum(high[:, :-2], high[:, 1:-1]), high[:, 2:])
    return _in_order(lowest, median, highest)[1]


def _in_order(one: Volume, two: Volume, three: Volume) -> tuple[Volume, Volume, Volume]:
    """The smallest, middle and largest of three values, pixel by pixel."""
    small, large = np.minimum(one, two), np.maximum(one, two)
    return np.minimum(small, three), np.maximum(small, np.minimum(large, three)), np.maximum(large, three)
