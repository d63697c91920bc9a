"""Small things drawn into a CT volume: boxes around them, tubes, and how tissue covers tissue."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from simulation.cohort.fields import Array, Grid, soft_step

Place = npt.NDArray[np.float64]
"""(3,) mm along (z, y, x)."""

Box = tuple[slice, slice, slice]


def box_around(grid: Grid, centre: Place, reach: float) -> tuple[Box, Grid] | None:
    """The part of ``grid`` within ``reach`` mm of ``centre`` along each axis, and its own grid; None if there is none.

    >>> box_around(Grid.regular((0, 0, 0), (10, 10, 10)), np.array([5.0, 5, 5]), 2)[0][0]
    slice(3, 8, None)
    """
    slices = []
    for axis, c in zip((grid.z, grid.y, grid.x), centre, strict=True):
        low = int(np.searchsorted(axis, c - reach, side="left"))
        high = int(np.searchsorted(axis, c + reach, side="right"))
        if high <= low:
            return None
        slices.append(slice(low, high))
    box = (slices[0], slices[1], slices[2])
    return box, Grid(grid.z[box[0]], grid.y[box[1]], grid.x[box[2]])


def tube(grid: Grid, points: Sequence[Place], radii: tuple[float, float], edge: float) -> Array:
    """(nz, ny, nx) in [0, 1]: a tube along ``points`` whose radius in mm changes from the first to the last."""
    covered = np.zeros(grid.shape, np.float32)
    pieces = len(points) - 1
    for index, (start, stop) in enumerate(pairwise(points)):
        along = (stop - start).astype(np.float32)
        length = float(along @ along)
        if length == 0:
            continue
        offsets = grid.offsets(start)
        share = np.clip(sum(a * o for a, o in zip(along, offsets, strict=True)) / np.float32(length), 0, 1)
        distance = np.sqrt(sum((o - a * share) ** 2 for a, o in zip(along, offsets, strict=True)))
        radius = radii[0] + (radii[1] - radii[0]) * (index + share) / pieces
        np.maximum(covered, soft_step(radius - distance, edge), out=covered)
    return covered


def cover(hu: Array, covered: Array, tissue: Array | float) -> None:
    """Puts ``tissue`` HU over ``hu`` in place, by the share ``covered``; what is denser already stays."""
    np.maximum(hu, hu + covered * (np.asarray(tissue, np.float32) - hu), out=hu)


def replace(hu: Array, covered: Array, tissue: Array | float) -> None:
    """Puts ``tissue`` HU in the place of ``hu``, by the share ``covered``."""
    hu += covered * (np.asarray(tissue, np.float32) - hu)


def draw_table(hu: Array, grid: Grid) -> None:
    """Two thin curved shells beneath the back, where there is nothing but air."""
    body = hu > -300
    lowest = np.flatnonzero(body.any(axis=(0, 2)))
    if not len(lowest):
        return
    back = grid.y[lowest[-1]]
    middle = (grid.x[0] + grid.x[-1]) / 2
    rows, columns = grid.y[None, :, None], grid.x[None, None, :]
    free = hu < -900
    for below, radius in ((5.0, 550.0), (48.0, 330.0)):
        curve = back + below - (columns - middle) ** 2 / np.float32(2 * radius)
        shell = soft_step(1.2 - np.abs(rows - curve), 1.0)
        hu += free * shell * np.float32(750)
