"""Harmless findings in the liver, and how the liver of one person looks beside another's."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulation.cohort.ct.drawing import Place, box_around, cover, replace
from simulation.cohort.fields import Array, Grid, SmoothField, soft_step
from simulation.cohort.liver.masses import PHASES


@dataclass(frozen=True)
class _Focus:
    """A cyst, haemangioma or calcification.

    Attributes:
        kind: ``cyst``, ``haemangioma`` or ``calcification``.
        centre: mm along (z, y, x).
        radii: mm along (z, y, x).
    """

    kind: str
    centre: Place
    radii: npt.NDArray[np.float64]


class Findings:
    """The harmless findings of one liver.

    Args:
        rng: where everything random comes from.
        seats: (N, 3) mm, places inside the liver.
        extent: size in mm of the body along (z, y, x).
    """

    def __init__(
        self, rng: np.random.Generator, seats: npt.NDArray[np.float64], extent: tuple[float, float, float]
    ) -> None:
        self._rng = rng
        self._foci = [self._focus(seats) for _ in range(rng.poisson(1.1))] if len(seats) else []
        box = (-30.0, -60.0, -60.0), (extent[0] + 60, extent[1] + 120, extent[2] + 120)
        self._mottle = SmoothField(rng, 9, *box), float(rng.uniform(1.0, 5.5))
        self._regions = SmoothField(rng, 55, *box), float(rng.uniform(1.0, 5.0))
        self._steatosis = float(rng.choice([0.0, 1.0], p=[0.75, 0.25]) * rng.uniform(8, 28))
        self._perfusion = SmoothField(rng, 24, *box), float(rng.uniform(10, 28) * (rng.random() < 0.35))
        self._fat = SmoothField(rng, 26, *box), float(rng.uniform(12, 28) * (rng.random() < 0.25))

    def apply(
        self, phases: dict[str, Array], grid: Grid, depth: Array, spared: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.bool_]:
        """Changes every phase in place, except where ``spared`` (nz, ny, nx) holds a mass.

        Args:
            depth: (nz, ny, nx) mm to the border of the liver, positive inside.

        Returns:
            (nz, ny, nx) True where a focal finding was drawn.
        """
        liver = soft_step(depth, 1.2)
        mottle, regions = (field.on(grid) * np.float32(amount) for field, amount in (self._mottle, self._regions))
        change = liver * (mottle + regions - np.float32(self._steatosis))
        fat = np.zeros((1, 1, 1), np.float32)
        if self._fat[1]:
            # Focal fat lies beneath the capsule and has the shape of a map.
            fat = (
                liver
                * soft_step(self._fat[0].on(grid) - 0.9, 0.25)
                * soft_step(22 - depth, 8)
                * np.float32(self._fat[1])
            )
        for hu in phases.values():
            hu += change - fat
        if self._perfusion[1] and "AP" in phases:
            bright = soft_step(self._perfusion[0].on(grid) - 1.0, 0.3) * soft_step(18 - depth, 8)
            phases["AP"] += liver * bright * np.float32(self._perfusion[1])
        drawn = np.zeros(grid.shape, bool)
        for focus in self._foci:
            self._draw(phases, grid, focus, spared, drawn)
        return drawn

    def _focus(self, seats: npt.NDArray[np.float64]) -> _Focus:
        kind = str(self._rng.choice(["cyst", "haemangioma", "calcification"], p=[0.62, 0.25, 0.13]))
        size = {"cyst": (3, 12), "haemangioma": (5, 11), "calcification": (1.2, 2.5)}[kind]
        radii = self._rng.uniform(*size) * self._rng.uniform(0.85, 1.15, 3)
        return _Focus(kind, seats[self._rng.integers(len(seats))], radii)

    def _draw(
        self,
        phases: dict[str, Array],
        grid: Grid,
        focus: _Focus,
        spared: npt.NDArray[np.bool_],
        drawn: npt.NDArray[np.bool_],
    ) -> None:
        found = box_around(grid, focus.centre, float(focus.radii.max()) + 4)
        if found is None or spared[found[0]].any():
            return
        box, part = found
        z, y, x = (o / np.float32(r) for o, r in zip(part.offsets(focus.centre), focus.radii, strict=True))
        middle = np.sqrt(z * z + y * y + x * x)
        distance = (middle - 1) * np.float32(focus.radii.mean())
        inside = soft_step(-distance, 1.0)
        drawn[box] |= distance < 0
        lobes = np.sin(3 * np.arctan2(y, x) + float(self._rng.uniform(0, 6))) + np.sin(4 * z + 1)
        water = float(self._rng.uniform(2, 14))
        for phase in PHASES:
            if phase not in phases:
                continue
            view = phases[phase][box]
            if focus.kind == "cyst":
                replace(view, inside, water)
            elif focus.kind == "calcification":
                cover(view, inside, 420.0)
            else:
                # Contrast medium fills a haemangioma in clumps from its border.
                filled = soft_step(middle - (0.72 if phase == "AP" else 0.3) + 0.15 * lobes, 0.15)
                clumps = soft_step(lobes + (0.0 if phase == "AP" else 1.0), 0.6)
                replace(view, inside, 50 + filled * clumps * (130 if phase == "AP" else 105))
