"""From tissues to the four contrasts of a healthy brain, before the scanner adds its own marks.

Signal is in arbitrary units in which the brightest healthy tissue is about 1.
"""

from collections.abc import Mapping

import numpy as np

from simulation.cohort.brain.anatomy import Anatomy
from simulation.cohort.fields import Array, Grid, SmoothField, soft_step

Images = dict[str, Array]
"""Contrast name to (nz, ny, nx) float32 signal."""

TISSUE: Mapping[str, tuple[float, float, float]] = {
    "flair": (0.50, 0.57, 0.13),
    "t1ce": (0.66, 0.52, 0.20),
    "t2": (0.36, 0.47, 0.95),
    "t1": (0.80, 0.58, 0.22),
}
"""Signal of white matter, grey matter and fluid."""

_DETAIL = {"flair": -0.5, "t1ce": 0.7, "t2": -0.8, "t1": 0.8}
_VESSEL = {"flair": -0.10, "t1ce": 0.75, "t2": -0.30, "t1": 0.05}
_PLEXUS = {"flair": 0.35, "t1ce": 0.60, "t2": -0.35, "t1": 0.15}


def healthy_images(anatomy: Anatomy, grid: Grid, rng: np.random.Generator, tissue_jitter: float = 0.05) -> Images:
    """The four contrasts of ``anatomy``.

    Args:
        rng: draws vessels, texture and how far each tissue's signal is from its usual one.
        tissue_jitter: largest relative deviation of a tissue's signal.
    """
    vessels, plexus = _vessels(anatomy, grid, rng), _choroid_plexus(anatomy)
    mottle = SmoothField(rng, 6).on(grid)
    images: Images = {}
    for contrast, signals in TISSUE.items():
        white, grey, fluid = (s * rng.uniform(1 - tissue_jitter, 1 + tissue_jitter) for s in signals)
        image = np.float32(white) * anatomy.white + np.float32(grey) * anatomy.grey + np.float32(fluid) * anatomy.fluid
        image += np.float32(_DETAIL[contrast]) * anatomy.detail
        image += np.float32(0.012) * mottle
        image += np.float32(_VESSEL[contrast]) * vessels
        image += np.float32(_PLEXUS[contrast]) * plexus
        images[contrast] = image
    return images


def _vessels(anatomy: Anatomy, grid: Grid, rng: np.random.Generator) -> Array:
    """(nz, ny, nx) in [0, 1]: thin curves in the fluid between the folds, and the sagittal sinus.

    Two smooth fields are both zero along curves; near such a curve lies a vessel.
    """
    first, second = SmoothField(rng, 13).on(grid), SmoothField(rng, 13).on(grid)
    curves = soft_step(0.04 - first * first - second * second, 0.03) * soft_step(0.6 - anatomy.white, 0.3)
    curves *= soft_step(0.97 - anatomy.depth, 0.03)
    x, y, _ = anatomy.position
    sinus = soft_step(2.5 - np.abs(x), 1.5) * soft_step(0.72 - anatomy.depth, 0.08) * (y < 40)
    vessels: Array = np.maximum(curves, sinus)
    return vessels


def _choroid_plexus(anatomy: Anatomy) -> Array:
    """(nz, ny, nx) in [0, 1]: the tufts in the trigones of the lateral ventricles."""
    x, y, z = anatomy.position
    squared = (np.abs(x) - 22) ** 2 + (0.7 * (y + 39)) ** 2 + (z - 8) ** 2
    plexus: Array = np.exp(-squared / np.float32(2 * 3.5**2)) * anatomy.fluid
    return plexus
