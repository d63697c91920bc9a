"""Smooth random fields over a body, evaluated only where they are needed.

A field is a cubic B-spline whose coefficients are white noise. It is drawn once for the whole body, so that a slab of
slices and the full volume of the same patient agree, and evaluated axis by axis on any grid.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

HEAD_ORIGIN = (-8.0, 24.0, 28.0)
HEAD_EXTENT = (172.0, 212.0, 184.0)
"""Corner and size in mm, along (z, y, x), of the box in BraTS voxel space that holds every head."""

# Mean over one knot interval of the sum of squared cubic B-spline weights: the variance of white noise after
# interpolation along one axis.
_SPLINE_VARIANCE = 151 / 315


@dataclass(frozen=True)
class Grid:
    """Sample positions along each axis in mm; for the head they are BraTS voxel indices as well.

    Attributes:
        z, y, x: (nz,), (ny,), (nx,) float32, each evenly spaced.

    >>> Grid.regular((60, 40, 40), (84, 220, 200), 4.0).shape
    (6, 45, 40)
    """

    z: Array
    y: Array
    x: Array

    @classmethod
    def regular(cls, start: tuple[int, int, int], stop: tuple[int, int, int], step: float = 1.0) -> "Grid":
        """Every ``step`` mm from ``start`` up to, not including, ``stop``; both (z, y, x)."""
        axes = [np.arange(a, b, step, dtype=np.float32) for a, b in zip(start, stop, strict=True)]
        return cls(*axes)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(nz, ny, nx)."""
        return len(self.z), len(self.y), len(self.x)

    @property
    def spacing(self) -> float:
        """In-plane distance of neighbouring samples in mm."""
        return float(self.x[1] - self.x[0])

    def offsets(self, centre: npt.NDArray[np.float64]) -> tuple[Array, Array, Array]:
        """Distances along z, y and x from ``centre`` (3,), shaped so that they broadcast to the grid."""
        z, y, x = (axis - np.float32(c) for axis, c in zip((self.z, self.y, self.x), centre, strict=True))
        return z[:, None, None], y[None, :, None], x[None, None, :]


class SmoothField:
    """A random field with mean 0 and variance 1 whose features are about ``size`` mm wide.

    Args:
        rng: where the coefficients come from.
        size: mm; the knots are half as far apart.
        origin, extent: corner and size in mm, along (z, y, x), of the box in which the field is needed.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        size: float,
        origin: tuple[float, float, float] = HEAD_ORIGIN,
        extent: tuple[float, float, float] = HEAD_EXTENT,
    ) -> None:
        self.knot = size / 2
        self._origin = origin
        knots = [int(np.ceil(side / self.knot)) + 4 for side in extent]
        scale = np.float32(_SPLINE_VARIANCE**-1.5)
        self._coefficients = rng.standard_normal(knots, dtype=np.float32) * scale

    def on(self, grid: Grid) -> Array:
        """(nz, ny, nx) float32 values on ``grid``."""
        values = self._coefficients
        # From the last axis to the first: the array grows along one axis at a time and the largest step is the
        # only one at full size.
        for axis, positions in ((2, grid.x), (1, grid.y), (0, grid.z)):
            values = _along(values, (positions - np.float32(self._origin[axis])) / np.float32(self.knot), axis)
        return values


def _along(coefficients: Array, positions: Array, axis: int) -> Array:
    """Cubic B-spline interpolation at ``positions`` (in knots) along one axis."""
    first = np.clip(np.floor(positions).astype(np.int64), 0, coefficients.shape[axis] - 4)
    weights = _spline_weights(np.clip(positions - first, 0, 1).astype(np.float32))
    shape = [1, 1, 1]
    shape[axis] = -1
    out = np.take(coefficients, first, axis=axis)
    out *= weights[0].reshape(shape)
    if axis == 0:
        # Plane by plane, so that what is added up stays in the processor's cache.
        for plane, start, taps in zip(out, first, weights.T, strict=True):
            for tap in range(1, 4):
                plane += coefficients[start + tap] * taps[tap]
        return out
    for tap in range(1, 4):
        term = np.take(coefficients, first + tap, axis=axis)
        term *= weights[tap].reshape(shape)
        out += term
    return out


def _spline_weights(t: Array) -> Array:
    """(4, n) weights of the four knots around a position at fraction ``t`` of its interval.

    >>> _spline_weights(np.float32([0.0, 0.5])).sum(axis=0).round(6).tolist()
    [1.0, 1.0]
    """
    return np.stack(
        [(1 - t) ** 3 / 6, (3 * t**3 - 6 * t**2 + 4) / 6, (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6, t**3 / 6]
    ).astype(np.float32)


def soft_step(values: npt.NDArray[np.floating[Any]], width: float) -> Array:
    """Rises from 0 to 1 as ``values`` goes from ``-width`` to ``width``; a cheap, smooth edge.

    >>> soft_step(np.float32([-2, 0, 2]), 1.0).tolist()
    [0.0, 0.5, 1.0]
    """
    t: Array = np.asarray(values, np.float32) * np.float32(0.5 / width)
    t += np.float32(0.5)
    np.clip(t, 0, 1, out=t)
    smooth: Array = t * t * (np.float32(3) - np.float32(2) * t)
    return smooth
