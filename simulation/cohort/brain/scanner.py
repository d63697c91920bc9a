"""What a hospital's scanner does to an image: contrast, resolution, bias field, noise, intensity scale."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from common.errors import ConfigError
from simulation.cohort.brain.signal import TISSUE, Images
from simulation.cohort.fields import Grid, SmoothField


@dataclass(frozen=True)
class Scanner:
    """One scanner.

    Attributes:
        gamma: exponent on the signal of each contrast; above 1 stretches bright parts.
        noise: standard deviation of the noise, in units of the signal.
        bias: standard deviation of the logarithm of the bias field.
        blur: standard deviation in mm of the point spread in the plane.
        thickness: standard deviation in mm of the slice profile.
        scale: stored value of signal 1.
    """

    gamma: Mapping[str, float]
    noise: float
    bias: float
    blur: float
    thickness: float
    scale: float


SCANNERS: Mapping[str, Scanner] = {
    "a": Scanner({"flair": 1.0, "t1ce": 1.0, "t2": 1.0, "t1": 1.0}, 0.016, 0.045, 0.45, 0.5, 260),
    "b": Scanner({"flair": 1.12, "t1ce": 0.9, "t2": 1.1, "t1": 1.15}, 0.021, 0.06, 0.60, 0.9, 380),
    "c": Scanner({"flair": 0.95, "t1ce": 1.1, "t2": 0.9, "t1": 0.85}, 0.023, 0.06, 0.70, 1.0, 180),
    "external": Scanner({"flair": 1.2, "t1ce": 0.85, "t2": 1.2, "t1": 0.9}, 0.032, 0.06, 0.90, 0.7, 300),
    "reference": Scanner({"flair": 1.0, "t1ce": 1.0, "t2": 1.0, "t1": 1.0}, 0.020, 0.05, 0.50, 0.7, 280),
}
"""The scanners a demo site may have."""


def scanner_named(name: str) -> Scanner:
    """The scanner ``name``.

    Raises:
        ConfigError: if there is none.
    """
    if name not in SCANNERS:
        raise ConfigError(f"scanner={name}: known scanners of the demo cohort are {', '.join(SCANNERS)}")
    return SCANNERS[name]


def acquire(
    images: Images,
    brain: npt.NDArray[np.bool_],
    grid: Grid,
    kept: slice,
    scanner: Scanner,
    rng: np.random.Generator,
) -> dict[str, npt.NDArray[np.int16]]:
    """What is stored of the slices ``kept``: int16 for each contrast, at least 1 inside ``brain`` and 0 outside.

    Noise is Rician, as in magnitude images (Gudbjartsson & Patz 1995).
    """
    inside = brain[kept]
    slab = Grid(grid.z[kept], grid.y, grid.x)
    stored = {}
    for contrast in TISSUE:
        # A patient's day: the same scanner never gives twice the same numbers.
        noise = np.float32(scanner.noise * rng.uniform(0.85, 1.2))
        scale = np.float32(scanner.scale * rng.uniform(0.8, 1.25))
        blur = scanner.blur * rng.uniform(0.85, 1.15)
        image = np.clip(images[contrast], 0, None)
        if scanner.gamma[contrast] != 1:
            image = np.power(image, np.float32(scanner.gamma[contrast]))
        image = gaussian_filter(image, (scanner.thickness, blur, blur), truncate=2.5)[kept]
        image *= np.exp(np.float32(scanner.bias) * SmoothField(rng, 110).on(slab))
        real = image[inside]
        real += noise * rng.standard_normal(len(real), dtype=np.float32)
        imaginary = noise * rng.standard_normal(len(real), dtype=np.float32)
        values = np.zeros(inside.shape, np.int16)
        values[inside] = np.clip(np.hypot(real, imaginary) * scale, 1, 32000).astype(np.int16)
        stored[contrast] = values
    return stored
