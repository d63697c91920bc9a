"""How one person differs from a CT template, and the template sampled where that person's tissue lies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from simulation.cohort.fields import Array, Grid, SmoothField

Point = tuple[float, float, float]


@dataclass(frozen=True)
class Variation:
    """How much people differ from a template.

    Attributes:
        rotation: largest angle in degrees about the axes (z, y, x).
        size: largest relative deviation of the body's size, and ``shape`` of one axis against another.
        shift: largest displacement in mm along (z, y, x).
        elastic: feature size and standard deviation in mm of the random displacements.
        height: 0 to 1, how much of all of this acts along z; a template of few slices has little to give.
        mirrored: share of people whose left and right are exchanged.
    """

    rotation: Point
    size: float
    shape: float
    shift: Point
    elastic: tuple[tuple[float, float], ...]
    height: float = 1.0
    mirrored: float = 0.0


class Body:
    """One person: pose, size, shape, left-right flip.

    Args:
        rng: where the person comes from.
        variation: how far the person may be from the template.
        extent: size in mm of the template along (z, y, x).
    """

    def __init__(self, rng: np.random.Generator, variation: Variation, extent: Point) -> None:
        self._centre = np.array(extent) / 2
        scale = 1 + rng.uniform(-variation.size, variation.size) + rng.uniform(-variation.shape, variation.shape, 3)
        scale[0] = 1 + (scale[0] - 1) * variation.height
        self._matrix = _rotation(np.deg2rad(rng.uniform(-1, 1, 3) * np.array(variation.rotation))) @ np.diag(1 / scale)
        self._shift = rng.uniform(-1, 1, 3) * np.array(variation.shift)
        self.mirrored = bool(rng.random() < variation.mirrored)
        box = (-30.0, -60.0, -60.0), (extent[0] + 60, extent[1] + 120, extent[2] + 120)
        amounts = np.array([variation.height, 1, 1])
        self._elastic = [
            [(std * amount, SmoothField(rng, size, *box)) for amount in amounts] for size, std in variation.elastic
        ]

    def template_position(self, grid: Grid) -> tuple[Array, Array, Array]:
        """Template mm along (z, y, x) of each sample of ``grid``, each (nz, ny, nx)."""
        offsets = grid.offsets(self._centre)
        position = []
        for row, centre, shift in zip(self._matrix, self._centre, self._shift, strict=True):
            axis = sum((np.float32(m) * o for m, o in zip(row, offsets, strict=True)), np.float32(centre + shift))
            position.append(np.broadcast_to(axis, grid.shape).astype(np.float32))
        for fields in self._elastic:
            for axis, (amount, field) in zip(position, fields, strict=True):
                if amount:
                    axis += np.float32(amount) * _coarsely(field, grid)
        if self.mirrored:
            position[2] = np.float32(2 * self._centre[2]) - position[2]
        return position[0], position[1], position[2]


class Template:
    """Volumes on one regular grid.

    Args:
        volumes: name to (Z, Y, X); all of one shape.
        spacing: mm along (z, y, x).
        beyond: for each name, the value outside the template; 0 if absent.
    """

    def __init__(
        self, volumes: Mapping[str, npt.NDArray[np.generic]], spacing: Point, beyond: Mapping[str, float]
    ) -> None:
        self._names = tuple(volumes)
        self._beyond = np.array([beyond.get(name, 0.0) for name in self._names], np.float32)
        stacked = np.stack([np.asarray(volume, np.float32) for volume in volumes.values()])
        stacked -= self._beyond[:, None, None, None]
        self._volumes = torch.from_numpy(stacked)
        self.spacing = spacing
        sizes = stacked.shape[1:]
        self.extent: Point = tuple((n - 1) * s for n, s in zip(sizes, spacing, strict=True))  # type: ignore[assignment]

    def at(self, position: Sequence[Array]) -> dict[str, Array]:
        """Every volume, trilinear, at template mm (z, y, x), each (nz, ny, nx)."""
        # grid_sample wants -1..1 over the volume and the last axis first.
        where = np.empty((*position[0].shape, 3), np.float32)
        for axis, (mm, extent) in enumerate(zip(position, self.extent, strict=True)):
            np.multiply(mm, np.float32(2 / extent), out=where[..., 2 - axis])
            where[..., 2 - axis] -= 1
        with torch.inference_mode():
            sampled = F.grid_sample(self._volumes[None], torch.from_numpy(where)[None], align_corners=True)[0].numpy()
        return {n: v + b for n, v, b in zip(self._names, sampled, self._beyond, strict=True)}


def _coarsely(field: SmoothField, grid: Grid) -> Array:
    """A wide field on every fourth row and column, interpolated between: it has no finer features."""
    rows, columns = grid.y[::4], grid.x[::4]
    coarse = field.on(
        Grid(grid.z, np.append(rows, rows[-1] + 4 * grid.spacing), np.append(columns, columns[-1] + 4 * grid.spacing))
    )
    size = (4 * (coarse.shape[1] - 1) + 1, 4 * (coarse.shape[2] - 1) + 1)
    fine = F.interpolate(torch.from_numpy(coarse)[:, None], size=size, mode="bilinear", align_corners=True)
    return np.asarray(fine[:, 0, : len(grid.y), : len(grid.x)].numpy())


def _rotation(angles: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Rotation of (z, y, x) about z, then y, then x, by radians."""
    (cz, cy, cx), (sz, sy, sx) = np.cos(angles), np.sin(angles)
    about_z = np.array([[1, 0, 0], [0, cz, -sz], [0, sz, cz]])
    about_y = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
    about_x = np.array([[cx, -sx, 0], [sx, cx, 0], [0, 0, 1]])
    rotation: npt.NDArray[np.float64] = about_x @ about_y @ about_z
    return rotation
