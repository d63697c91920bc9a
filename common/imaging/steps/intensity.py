"""One scale of intensities for all patients: z-scores for MRI, a window of Hounsfield units for CT."""

import math

import numpy as np
from scipy.linalg import norm

from common.errors import BadStudyError, ConfigError
from common.imaging.steps.study import Mask, Volume


def z_score(channel: Volume, inside: Mask, out: Volume | None = None) -> Volume:
    """One volume with mean 0 and standard deviation 1 inside the foreground; in ``out`` if that is given.

    >>> z_score(np.array([1.0, 3.0, 9.0], np.float32), np.array([True, True, False])).tolist()
    [-1.0, 1.0, 7.0]

    Raises:
        BadStudyError: if the foreground is constant.
    """
    scored = np.empty(channel.shape, np.float32) if out is None else out
    scored[...] = channel
    values = scored[inside]
    mean = values.mean(dtype=np.float64)
    values -= np.float32(mean)
    deviation = float(norm(values, check_finite=False)) / math.sqrt(values.size)
    if deviation < 1e-6 * max(abs(mean), 1e-6):
        raise BadStudyError("the image has the same value all over the foreground")
    scored -= np.float32(mean)
    scored /= np.float32(deviation)
    return scored


def window(values: Volume, limits: list[float], out: Volume | None = None) -> Volume:
    """Values with ``limits`` mapped to 0 and 1, and clipped there; in ``out`` if that is given.

    >>> window(np.array([-200.0, 75.0, 300.0], np.float32), [-100, 250]).tolist()
    [0.0, 0.5, 1.0]

    Raises:
        ConfigError: if ``limits`` are not two ascending numbers.
    """
    if len(limits) != 2 or not limits[0] < limits[1]:
        raise ConfigError(f"organs.<organ>.steps.window={limits}: give two ascending numbers")
    low, high = np.float32(limits[0]), np.float32(limits[1])
    scaled = np.subtract(values, low, out=out)
    scaled /= high - low
    return scaled.clip(0, 1, out=scaled)
