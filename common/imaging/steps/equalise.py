"""Histogram equalisation: every brightness becomes equally frequent."""

import numpy as np
from skimage.exposure import equalize_hist

from common.errors import BadStudyError
from common.imaging.steps.study import Mask, Volume

BINS = 256


def equalise(channel: Volume, region: Mask) -> Volume:
    """One volume in [0, 1] in which a value is the share of ``region`` that is not brighter.

    The histogram is the region's, without values of 0 and 1: a window has cut these off, and a part of a lung in the
    picture would otherwise make all air grey. What lies around the region is mapped by the same curve. As
    scikit-image's ``equalize_hist`` with a mask, of 256 bins.

    Args:
        channel: (Z, Y, X) in [0, 1].

    Raises:
        BadStudyError: if the region is constant.
    """
    counted = region & (channel > 0) & (channel < 1)
    values = channel[counted]
    if values.min(initial=np.inf) >= values.max(initial=-np.inf):
        raise BadStudyError("the image has no contrast to equalise")
    return np.asarray(equalize_hist(channel, nbins=BINS, mask=counted), dtype=np.float32)
