"""Histogram equalisation: every brightness becomes equally frequent."""

import numpy as np

from common.errors import BadStudyError
from common.imaging.steps.study import Mask, Volume

LEVELS = 4096
"""Of the histogram: finer than the Hounsfield units of any window that is equalised."""


def equalise(channel: Volume, region: Mask) -> Volume:
    """One volume in [0, 1] in which a value is the share of ``region`` that is not brighter.

    The histogram is the region's, without values of 0 and 1: a window has cut these off, and a part of a lung in the
    picture would otherwise make all air grey. What lies around the region is mapped by the same curve. As
    scikit-image's ``equalize_hist`` with a mask, to the width of a level.

    Args:
        channel: (Z, Y, X) in [0, 1].

    Raises:
        BadStudyError: if the region is constant.
    """
    levels = np.rint(channel * np.float32(LEVELS - 1)).astype(np.uint16)
    counts = np.bincount(levels[region & (channel > 0) & (channel < 1)], minlength=LEVELS)
    if np.count_nonzero(counts) < 2:
        raise BadStudyError("the image has no contrast to equalise; organs.<organ>.steps.equalise=false leaves it out")
    return np.asarray((np.cumsum(counts) / counts.sum()).astype(np.float32)[levels])
