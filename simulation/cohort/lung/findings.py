"""Harmless findings in the lungs: without them any dense spot would be a nodule that four readers agree on."""

from dataclasses import dataclass

import numpy as np

from simulation.cohort.ct.drawing import Place, box_around, cover, tube
from simulation.cohort.fields import Array, Grid, SmoothField, soft_step

SMALL = 3.0
"""mm: LIDC's readers put a single point on nodules below it."""


@dataclass(frozen=True)
class Mark:
    """A point that some readers put.

    Attributes:
        place: (z, y, x) index of the volume.
        readers: which of the four.
        nodule: a nodule below 3 mm; otherwise something that is none.
    """

    place: tuple[int, int, int]
    readers: tuple[int, ...]
    nodule: bool


class Findings:
    """Granulomas, scars, dependent density and emphysema of one person.

    Args:
        rng: where everything random comes from.
        seats: (N, 3) mm, places in the lungs.
        rims: (N, 3) mm, places just beneath the pleura.
        extent: size in mm of the template along (z, y, x).
    """

    def __init__(
        self,
        rng: np.random.Generator,
        seats: Place,
        rims: Place,
        extent: tuple[float, float, float],
    ) -> None:
        self._rng = rng
        few = rng.poisson(1.6) if len(seats) else 0
        self._granulomas = [(seats[rng.integers(len(seats))], rng.uniform(2.0, SMALL)) for _ in range(few)]
        some = rng.poisson(0.9) if len(rims) else 0
        self._scars = [rims[rng.integers(len(rims))] for _ in range(some)]
        box = (-30.0, -60.0, -60.0), (extent[0] + 60, extent[1] + 120, extent[2] + 120)
        self._density = SmoothField(rng, 60, *box), float(rng.uniform(5, 22))
        self._emphysema = SmoothField(rng, 16, *box), float(rng.uniform(30, 90) * (rng.random() < 0.35))
        self._inflation = float(rng.uniform(-80, 15))
        self._dependent = float(rng.uniform(0, 120))

    def apply(self, hu: Array, grid: Grid, depth: Array) -> list[Mark]:
        """Changes ``hu`` (nz, ny, nx) in place and says what readers would mark.

        Args:
            depth: (nz, ny, nx) mm to the border of the lungs, positive inside.
        """
        self._change_density(hu, grid, depth)
        marks = []
        for place, diameter in self._granulomas:
            found = box_around(grid, place, 5)
            if found is None:
                continue
            box, part = found
            distance = np.sqrt(sum(o * o for o in part.offsets(place)))
            calcified = self._rng.random() < 0.5
            tissue = float(self._rng.uniform(250, 700) if calcified else self._rng.uniform(0, 60))
            cover(hu[box], soft_step(diameter / 2 - distance, 0.9), tissue)
            marks.append(self._mark(grid, place, nodule=True))
        for place in self._scars:
            self._draw_scar(hu, grid, depth, place)
            marks.append(self._mark(grid, place, nodule=False))
        return [mark for mark in marks if mark.readers]

    def _change_density(self, hu: Array, grid: Grid, depth: Array) -> None:
        lung = soft_step(depth - 1.5, 2.0) * (hu < -500)
        field, amount = self._density
        density = self._inflation + amount * field.on(grid)
        back = soft_step((grid.y - np.quantile(grid.y, 0.62)) / 30, 1.0)[None, :, None]
        density = density + self._dependent * back * np.exp(-np.clip(depth, 0, None) / np.float32(9))
        field, amount = self._emphysema
        if amount:
            density = density - amount * soft_step(field.on(grid) - 0.7, 0.7)
        hu += lung * density
        np.maximum(hu, -1000, out=hu)

    def _draw_scar(self, hu: Array, grid: Grid, depth: Array, place: Place) -> None:
        """A few thin bands that meet at the pleura."""
        found = box_around(grid, place, 26)
        if found is None:
            return
        box, part = found
        lung = soft_step(depth[box] + 1, 1.5)
        for _ in range(self._rng.integers(1, 4)):
            direction = self._rng.normal(0, 1, 3) * np.array([0.45, 1, 1])
            direction *= self._rng.uniform(8, 20) / np.linalg.norm(direction)
            middle = place + direction * 0.5 + self._rng.normal(0, 1.5, 3)
            width = self._rng.uniform(0.7, 1.4)
            band = tube(part, [place - direction * 0.4, middle, place + direction], (width, 0.5), 0.9)
            cover(hu[box], band * lung * np.float32(self._rng.uniform(0.5, 0.95)), -20)

    def _mark(self, grid: Grid, place: Place, nodule: bool) -> Mark:
        """At the nearest sample, by those readers who saw it."""
        index = [
            int(np.clip(np.rint((p - axis[0]) / (axis[1] - axis[0])), 0, len(axis) - 1))
            for p, axis in zip(place, (grid.z, grid.y, grid.x), strict=True)
        ]
        readers = tuple(int(reader) for reader in np.flatnonzero(self._rng.random(4) < 0.45))
        return Mark((index[0], index[1], index[2]), readers, nodule)
