"""Contrast stretch: the range of values that a patient really has is spread over the whole scale."""

import numpy as np

from common.errors import BadStudyError
from common.imaging.steps.intensity import window
from common.imaging.steps.study import Mask, Volume


def stretch(channel: Volume, region: Mask, percentiles: list[float]) -> Volume:
    """One volume in which the two percentiles of what lies in ``region`` become 0 and 1, clipped there.

    Raises:
        BadStudyError: if the region is constant.
    """
    low, high = np.percentile(channel[region], percentiles)
    if not low < high:
        raise BadStudyError("the image has no contrast to stretch; organs.<organ>.steps.stretch=null leaves that out")
    return window(channel, [float(low), float(high)])
