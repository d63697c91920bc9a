"""Lung nodules: real shapes from four radiologists' readings, drawn as solid, part-solid or ground-glass tissue."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import map_coordinates

from simulation.cohort.ct.drawing import Place, box_around, cover, tube
from simulation.cohort.ct.nodule_shapes import STEP, NoduleShape
from simulation.cohort.fields import Array, Grid, SmoothField, soft_step

HALO = 16.0
"""mm around a nodule that spicules, tags and vessels may reach."""


@dataclass(frozen=True)
class Reading:
    """One radiologist's reading of one nodule.

    Attributes:
        mask: (Z, Y, X) bool.
        ratings: one for each of ``nodule_shapes.RATINGS``.
    """

    mask: npt.NDArray[np.bool_]
    ratings: tuple[int, ...]


class Nodule:
    """A real nodule, turned and placed into another person's lung.

    Args:
        rng: where everything random comes from.
        shape: the nodule.
        centre: mm along (z, y, x).
        hilum: where vessels come from, mm.
        attached: whether a vessel enters it.
    """

    def __init__(
        self, rng: np.random.Generator, shape: NoduleShape, centre: Place, hilum: Place, attached: bool
    ) -> None:
        self.shape = shape
        self.centre = centre
        self._hilum = hilum
        self._attached = attached
        self._size = float(rng.uniform(0.92, 1.08))
        self._turn = _turn(rng)
        self._rng = rng
        self._seed = int(rng.integers(2**62))
        self.radius = shape.width / 2 * self._size

    def distances(self, grid: Grid, depth: Array) -> Array:
        """(R, nz, ny, nx) mm to each reader's outline, negative inside.

        Args:
            depth: (nz, ny, nx) mm to the border of the lung: outside it there is no nodule.
        """
        offsets = [o / np.float32(STEP * self._size) for o in grid.offsets(self.centre)]
        middle = [(n - 1) / 2 for n in self.shape.distances.shape[1:]]
        where = [
            np.broadcast_to(
                sum(np.float32(t) * o for t, o in zip(row, offsets, strict=True)) + np.float32(m), grid.shape
            )
            for row, m in zip(self._turn, middle, strict=True)
        ]
        read = [map_coordinates(one, where, order=1, mode="nearest") for one in self.shape.distances]
        distances: Array = np.maximum(np.stack(read) * np.float32(self._size), -0.5 - depth)
        return distances

    def readings(self, grid: Grid, depth: Array) -> list[Reading]:
        """What each of the shape's readers outlined; one who outlined nothing here is left out."""
        found = box_around(grid, self.centre, self._reach())
        if found is None:
            return []
        box, part = found
        readings = []
        for distance, ratings in zip(self.distances(part, depth[box]), self.shape.ratings, strict=True):
            if (distance < 0).any():
                mask = np.zeros(grid.shape, bool)
                mask[box] = distance < 0
                readings.append(Reading(mask, tuple(int(rating) for rating in ratings)))
        return readings

    def draw(self, hu: Array, grid: Grid, depth: Array, contrast: float) -> None:
        """Changes ``hu`` (nz, ny, nx) in place.

        Args:
            contrast: HU by which contrast medium brightens what has vessels.
        """
        found = box_around(grid, self.centre, self._reach() + HALO)
        if found is None:
            return
        box, part = found
        rng = np.random.default_rng(self._seed)
        inner, lung = hu[box], depth[box]
        # What is there is what most readers saw.
        surface = np.median(self.distances(part, lung), axis=0)
        surface = surface + (0.25 + 0.06 * self.shape.rating("spiculation")) * self._field(rng, 4.0, part)
        self._draw_surroundings(rng, inner, part, lung, surface)
        self._draw_body(rng, inner, part, surface, contrast)

    def _reach(self) -> float:
        return float(max(self.shape.distances.shape[1:]) * STEP * self._size) * 0.75

    def _field(self, rng: np.random.Generator, size: float, grid: Grid) -> Array:
        """A smooth random field on a small grid."""
        origin = tuple(float(axis[0]) - size for axis in (grid.z, grid.y, grid.x))
        extent = tuple(float(axis[-1] - axis[0]) + 2 * size for axis in (grid.z, grid.y, grid.x))
        return SmoothField(rng, size, origin, extent).on(grid)  # type: ignore[arg-type]

    def _draw_body(self, rng: np.random.Generator, hu: Array, grid: Grid, surface: Array, contrast: float) -> None:
        edge = 0.9 + 0.3 * (5 - self.shape.rating("margin"))
        covered = soft_step(-surface, edge)
        mottle = self._field(rng, 5.0, grid)
        texture = self.shape.rating("texture")
        solid = rng.uniform(15, 45) + contrast * rng.uniform(0.1, 0.5) + 10 * mottle
        haze = rng.uniform(-620, -480) + 60 * mottle
        if texture >= 4:
            core = soft_step(-surface + 0.5, 1.5) if texture < 5 else np.ones_like(covered)
        elif texture >= 2:
            core = soft_step(-surface / self.radius - 0.35 + 0.2 * mottle, 0.2)
        else:
            core = np.zeros_like(covered)
        cover(hu, covered, haze + core * (solid - haze))
        self._draw_inside(rng, hu, surface, mottle)

    def _draw_inside(self, rng: np.random.Generator, hu: Array, surface: Array, mottle: Array) -> None:
        """Calcium, air or fat, where the readers rated them."""
        calcification = round(self.shape.rating("calcification"))
        deep = -surface / self.radius
        if calcification == 3:
            cover(hu, soft_step(deep - 0.1, 0.1), rng.uniform(250, 550) + 60 * mottle)
        elif calcification == 1:
            cover(hu, soft_step(deep - 0.1, 0.15) * soft_step(mottle - 0.6, 0.4), rng.uniform(250, 600))
        elif calcification in (2, 4, 5):
            cover(hu, soft_step(deep - 0.5 + 0.1 * mottle, 0.15), rng.uniform(200, 500))
        structure = round(self.shape.rating("internalStructure"))
        if structure == 4:
            cavity = soft_step(deep - 0.45 + 0.15 * mottle, 0.12)
            hu += cavity * (-920 - hu)

    def _draw_surroundings(self, rng: np.random.Generator, hu: Array, grid: Grid, depth: Array, surface: Array) -> None:
        """Spicules, a vessel, a tag to the pleura, and a little reaction of the lung."""
        lung = soft_step(depth + 1, 1.5)
        spiculation = self.shape.rating("spiculation")
        rate = (max(0.0, spiculation - 1) / 4) ** 1.4
        if rate > 0:
            streaks = np.zeros(grid.shape, np.float32)
            for _ in range(round(rng.uniform(0.7, 1.2) * 30 * rate)):
                points = self._spicule(rng, grid, surface, rate)
                if points is not None:
                    strength = np.float32(rng.uniform(0.55, 1.0))
                    np.maximum(streaks, strength * tube(grid, points, (rng.uniform(1.2, 2.0), 0.6), 0.8), out=streaks)
            cover(hu, streaks * lung, -30)
            reaction = np.exp(-np.clip(surface, 0, None) / np.float32(3)) * (0.6 + 0.4 * self._field(rng, 6.0, grid))
            hu += np.clip(reaction, 0, 1) * lung * np.float32(110 * rate)
        if self._attached:
            cover(hu, tube(grid, self._towards(rng, self._hilum), (1.6, 1.9), 0.9) * lung, 20)
            if rng.random() < 0.5:
                away = 2 * self.centre - self._hilum
                cover(hu, tube(grid, self._towards(rng, away), (1.4, 0.5), 0.9) * lung, 10)
        if rate > 0.1 and rng.random() < 0.6:
            wall = _nearest(grid, depth, self.centre)
            if wall is not None:
                cover(hu, 0.85 * tube(grid, [self.centre, wall], (1.3, 0.9), 0.8), 0)

    def _towards(self, rng: np.random.Generator, goal: Place) -> list[Place]:
        """Three points of a bent line from the middle of the nodule towards ``goal``."""
        along = goal - self.centre
        along = along / (np.linalg.norm(along) + 1e-6)
        length = self.radius + rng.uniform(0.6, 1.0) * HALO
        bend = rng.normal(0, 0.12, 3) * length
        return [self.centre, self.centre + along * length * 0.55 + bend, self.centre + along * length]

    def _spicule(self, rng: np.random.Generator, grid: Grid, surface: Array, rate: float) -> list[Place] | None:
        """Start and end of a line that leaves the surface in a random direction."""
        direction = rng.normal(0, 1, 3) * np.array([0.5, 1, 1])
        direction /= np.linalg.norm(direction)
        steps = np.arange(1.0, self.radius * 2.5, 0.7)
        along = self.centre + steps[:, None] * direction
        index = [
            np.clip(np.searchsorted(axis, along[:, k]), 0, len(axis) - 1)
            for k, axis in enumerate((grid.z, grid.y, grid.x))
        ]
        outside = np.flatnonzero(surface[tuple(index)] > 0)
        if not len(outside):
            return None
        start = along[outside[0]] - direction * 1.5
        wobble = rng.normal(0, 0.12, 3)
        return [start, start + (direction + wobble) * (1.5 + rng.uniform(2.0, 5.0 + 5 * rate))]


def _turn(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """A rotation by any angle in the plane, and mirrored axes: nodules know no up and down."""
    angle = rng.uniform(0, 2 * np.pi)
    c, s = np.cos(angle), np.sin(angle)
    signs = rng.choice([-1.0, 1.0], 3)
    turn: npt.NDArray[np.float64] = np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) * signs[:, None]
    return turn


def _nearest(grid: Grid, depth: Array, centre: Place) -> Place | None:
    """The place on the lung's border, within the grid, that is nearest to ``centre``."""
    border = np.argwhere(np.abs(depth) < 1)
    if not len(border):
        return None
    places = np.stack([axis[border[:, k]] for k, axis in enumerate((grid.z, grid.y, grid.x))], axis=1)
    distance = np.linalg.norm(places - centre, axis=1)
    if distance.min() > 25:
        return None
    place: Place = places[distance.argmin()].astype(np.float64)
    return place
