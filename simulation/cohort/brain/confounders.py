"""Harmless findings that look like a lesion and carry no label: without them any bright spot would be a tumour."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from simulation.cohort.brain.anatomy import Anatomy
from simulation.cohort.brain.signal import Images
from simulation.cohort.fields import Array, Grid, SmoothField, soft_step

_GLIOSIS = {"flair": 0.30, "t1ce": -0.10, "t2": 0.26, "t1": -0.14}
"""Change of signal where tissue holds more water: white-matter spots, caps, old small infarcts."""

_SWOLLEN_CORTEX = {"flair": 0.26, "t1ce": -0.03, "t2": 0.20, "t1": -0.05}

_FLUID = {"flair": 0.13, "t1ce": 0.20, "t2": 0.98, "t1": 0.22}
"""Signal of a cyst or lacune."""


@dataclass(frozen=True)
class Focus:
    """One small round finding.

    Attributes:
        centre: (z, y, x) in BraTS voxels.
        radii: (3,) mm.
        hollow: a cyst; otherwise gliosis.
        wall: strength of the bright wall of a cyst, 0 for none.
        strength: 0 to 1.
    """

    centre: npt.NDArray[np.float64]
    radii: npt.NDArray[np.float64]
    hollow: bool
    wall: float
    strength: float


class Confounders:
    """The harmless findings of one patient.

    Args:
        rng: where everything random comes from.
        seats: (N, 3) places (z, y, x) inside brain tissue where a finding may sit.
    """

    def __init__(self, rng: np.random.Generator, seats: npt.NDArray[np.float64]) -> None:
        load = float(rng.choice([0.2, 0.7, 1.3, 2.0], p=[0.25, 0.3, 0.25, 0.2]))
        self._load = load
        self._spot_strength = rng.uniform(0.3, 0.8)
        self._cap_strength = rng.uniform(0.0, 0.35) * load
        self._gyral_strength = rng.uniform(0.2, 0.6) * (rng.random() < 0.3)
        self._spots = SmoothField(rng, 9), SmoothField(rng, 5)
        self._gyri = SmoothField(rng, 30)
        self._surface = SmoothField(rng, 6)
        self.foci = [self._focus(rng, seats) for _ in range(rng.poisson(1.5 + 2.5 * load))] if len(seats) else []

    @staticmethod
    def _focus(rng: np.random.Generator, seats: npt.NDArray[np.float64]) -> Focus:
        hollow = rng.random() < 0.2
        return Focus(
            centre=seats[rng.integers(len(seats))] + rng.uniform(-2, 2, 3),
            radii=rng.uniform(2.0, 4.5 if hollow else 6.0) * rng.uniform(0.6, 1.5, 3),
            hollow=bool(hollow),
            wall=float(rng.uniform(0.4, 1) if rng.random() < 0.5 else 0),
            strength=float(rng.uniform(0.25, 0.75)),
        )

    def apply(self, images: Images, anatomy: Anatomy, grid: Grid, spared: npt.NDArray[np.bool_]) -> Array:
        """Changes ``images`` in place, except where ``spared`` (nz, ny, nx) holds a tumour.

        Returns:
            (nz, ny, nx) float32 in [0, 1]: where a finding changed the signal.
        """
        allowed = (anatomy.brain & ~spared).astype(np.float32)
        gliosis, cysts = self._focal(anatomy, grid)
        gliosis = np.maximum(gliosis, self._diffuse(anatomy, grid))
        gliosis *= allowed * (1 - anatomy.fluid)
        cysts *= allowed
        swollen = self._gyral_strength * soft_step(self._gyri.on(grid) - 1.5, 0.4) * anatomy.grey * allowed
        for contrast, image in images.items():
            image += np.float32(_GLIOSIS[contrast]) * gliosis + np.float32(_SWOLLEN_CORTEX[contrast]) * swollen
            image += cysts * (np.float32(_FLUID[contrast]) - image)
        changed: Array = np.maximum(np.maximum(gliosis, cysts), swollen)
        return changed

    def _diffuse(self, anatomy: Anatomy, grid: Grid) -> Array:
        """White-matter spots and the caps around the ventricles."""
        coarse, fine = (field.on(grid) for field in self._spots)
        spots = soft_step(coarse + 0.5 * fine - (2.9 - 0.45 * self._load), 0.3) * anatomy.white * self._spot_strength
        deep = anatomy.depth > 0.97
        beside_fluid = gaussian_filter(anatomy.fluid * deep, 2.5 / grid.spacing)
        caps = np.clip(3 * beside_fluid, 0, 1) * anatomy.white * self._cap_strength
        diffuse: Array = np.maximum(spots, caps)
        return diffuse

    def _focal(self, anatomy: Anatomy, grid: Grid) -> tuple[Array, Array]:
        """Gliosis and cysts from the foci, each (nz, ny, nx)."""
        gliosis, cysts = np.zeros(grid.shape, np.float32), np.zeros(grid.shape, np.float32)
        surface = self._surface.on(grid)
        for focus in self.foci:
            box = _box(grid, focus.centre, float(focus.radii.max()) * 1.6 + 3)
            if box is None:
                continue
            part = Grid(grid.z[box[0]], grid.y[box[1]], grid.x[box[2]])
            z, y, x = (o / np.float32(r) for o, r in zip(part.offsets(focus.centre), focus.radii, strict=True))
            outside = (np.sqrt(z * z + y * y + x * x) - 1 - 0.22 * surface[box]) * np.float32(focus.radii.mean())
            if focus.hollow:
                cysts[box] = np.maximum(cysts[box], soft_step(-outside, 1.0) * min(1.0, 0.4 + focus.strength))
                wall = soft_step(1.8 - np.abs(outside - 1.2), 1.2) * focus.wall
                gliosis[box] = np.maximum(gliosis[box], wall)
            else:
                gliosis[box] = np.maximum(gliosis[box], soft_step(-outside, 1.6) * focus.strength)
        return gliosis, cysts


def _box(grid: Grid, centre: npt.NDArray[np.float64], reach: float) -> tuple[slice, slice, slice] | None:
    """The part of ``grid`` within ``reach`` mm of ``centre`` along each axis; None if there is none."""
    slices = []
    for axis, c in zip((grid.z, grid.y, grid.x), centre, strict=True):
        low, high = np.searchsorted(axis, [c - reach, c + reach])
        if high - low < 2:
            return None
        slices.append(slice(int(low), int(high)))
    return slices[0], slices[1], slices[2]
