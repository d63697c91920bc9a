"""Gliomas: where they sit, how far they reach, what they push aside and what they look like."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from simulation.cohort.brain.anatomy import Anatomy
from simulation.cohort.brain.signal import Images
from simulation.cohort.fields import Array, Grid, SmoothField, soft_step

NECROSIS, OEDEMA, ENHANCING = 1, 2, 4
"""BraTS label values; 1 also stands for the core of a tumour that does not enhance."""


class Kind(StrEnum):
    """How a glioma grows."""

    RING = "ring"
    SOLID = "solid"
    INFILTRATIVE = "infiltrative"


@dataclass(frozen=True)
class LesionMaps:
    """A lesion on a grid; all arrays (nz, ny, nx).

    Attributes:
        labels: uint8, BraTS values.
        oedema, core, necrosis, rim: float32 in [0, 1], how much each part contributes to the signal.
    """

    labels: npt.NDArray[np.uint8]
    oedema: Array
    core: Array
    necrosis: Array
    rim: Array


# Signal of (oedema, core, necrosis, rim) in the units of signal.TISSUE.
_SIGNAL = {
    "flair": (0.82, 0.80, 0.48, 0.74),
    "t1ce": (0.50, 0.46, 0.40, 1.05),
    "t2": (0.78, 0.82, 1.00, 0.70),
    "t1": (0.56, 0.50, 0.44, 0.62),
}

_REACH = {Kind.RING: (0.5, 1.1), Kind.SOLID: (0.2, 0.7), Kind.INFILTRATIVE: (0.3, 0.9)}
"""Reach of the oedema along white matter, in radii of the core."""


class Lesion:
    """One glioma, drawn once and evaluated on any grid.

    Args:
        rng: where everything random comes from.
        centre: (z, y, x) in BraTS voxels.
    """

    def __init__(self, rng: np.random.Generator, centre: npt.NDArray[np.float64]) -> None:
        self.centre = centre
        self.kind = Kind(rng.choice([str(kind) for kind in Kind], p=[0.4, 0.25, 0.35]))
        self.radius = float(rng.uniform(9, 21))
        stretch = rng.uniform(0.78, 1.28, 3)
        self._stretch = stretch / np.cbrt(stretch.prod())
        self.conspicuity = float(rng.uniform(0.48, 1.0))
        self._roughness = rng.uniform(0.12, 0.3)
        self._rim = rng.uniform(1.8, 4.0)
        self._reach = rng.uniform(*_REACH[self.kind]) * self.radius
        self._texture_depth = rng.uniform(0.08, 0.25)
        self._push = rng.uniform(0.12, 0.38) * self.radius
        sizes = {"surface": 14.0, "inner": 8.0, "gaps": 11.0, "reach": 15.0, "coarse": 9.0, "fine": 4.0}
        self._fields = {name: SmoothField(rng, size) for name, size in sizes.items()}

    def mass_effect(self, grid: Grid) -> tuple[Array, Array, Array]:
        """Displacement along (z, y, x) in mm: outwards, largest at the lesion's edge, gone some radii away."""
        offsets = grid.offsets(self.centre)
        distance = np.sqrt(offsets[0] ** 2 + offsets[1] ** 2 + offsets[2] ** 2) + np.float32(1e-3)
        outside = np.clip(distance - self.radius, 0, None) / (1.2 * self.radius)
        amount = self._push * np.exp(-0.5 * outside**2) * np.minimum(1, distance / self.radius) / distance
        amount = amount.astype(np.float32)
        return amount * offsets[0], amount * offsets[1], amount * offsets[2]

    def on(self, grid: Grid, anatomy: Anatomy) -> LesionMaps:
        """The lesion's parts in ``anatomy``, which must have been sampled on ``grid`` with this lesion's push."""
        noise = {name: self._fields[name].on(grid) for name in ("surface", "inner", "gaps", "reach")}
        offsets = [o / np.float32(s) for o, s in zip(grid.offsets(self.centre), self._stretch, strict=True)]
        distance = np.sqrt(offsets[0] ** 2 + offsets[1] ** 2 + offsets[2] ** 2)
        outside = distance - self.radius * (1 + self._roughness * noise["surface"])
        # A tumour does not grow through the surface of the brain: it ends there, rim and all.
        outside = np.maximum(outside, np.float32(14) * (np.float32(0.74) - anatomy.depth))
        inside_brain = anatomy.brain & (anatomy.depth > 0.66)

        # Oedema runs along white matter, stops short of cortex and never fills fluid.
        white = gaussian_filter(anatomy.white, 1.2 / grid.spacing)
        beyond = outside - self._reach * np.clip(1.6 * white - 0.45, -0.4, 1) - 1.6 * noise["reach"]
        tissue = soft_step(0.55 - anatomy.fluid, 0.25) * inside_brain
        oedema = soft_step(-beyond, 2.2) * tissue
        core = soft_step(-outside, 1.4) * inside_brain * soft_step(0.8 - anatomy.fluid, 0.3)

        depth_inside = -outside - self._rim * np.clip(1 + 0.6 * noise["inner"], 0.3, 2.5)
        if self.kind is Kind.RING:
            necrosis = core * soft_step(depth_inside, 1.0)
            rim = np.clip(core - necrosis, 0, 1) * soft_step(1.1 - noise["gaps"], 0.8)
        elif self.kind is Kind.SOLID:
            necrosis = core * soft_step(depth_inside, 1.0) * soft_step(noise["inner"] - 0.9, 0.4)
            rim = np.clip(core - necrosis, 0, 1) * soft_step(1.0 - np.abs(noise["gaps"]), 0.8)
        else:
            necrosis = np.zeros_like(core)
            rim = np.zeros_like(core)
        labels = np.zeros(grid.shape, np.uint8)
        labels[oedema > 0.5] = OEDEMA
        labels[core > 0.5] = NECROSIS
        labels[(rim > 0.4) & (core > 0.5)] = ENHANCING
        return LesionMaps(labels, oedema * (1 - core), core, necrosis, rim)

    def apply(self, images: Images, maps: LesionMaps, grid: Grid) -> None:
        """Changes ``images`` in place."""
        coarse, fine = self._fields["coarse"].on(grid), self._fields["fine"].on(grid)
        texture = 1 + self._texture_depth * (0.7 * coarse + 0.5 * fine)
        solid = np.clip(maps.core - maps.necrosis - maps.rim, 0, 1)
        # Oedema lets the tissue below show through; the core replaces it.
        weights = (
            maps.oedema * np.clip(0.75 + 0.25 * coarse, 0.2, 1) * self.conspicuity,
            solid * (0.25 + 0.75 * self.conspicuity),
            maps.necrosis * min(1.0, 0.4 + 0.8 * self.conspicuity),
            maps.rim * min(1.0, 0.45 + 0.6 * self.conspicuity),
        )
        kept = 1 - np.clip(sum(weights), 0, 1)
        for contrast, image in images.items():
            signal = sum(w * np.float32(s) for w, s in zip(weights, _SIGNAL[contrast], strict=True))
            np.copyto(image, kept * image + signal * texture)
