"""What a hospital's CT scanner does to an image: field of view, slice distance, kernel, noise, calibration."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from common.errors import ConfigError
from simulation.cohort.fields import Array

MATRIX = 192
"""Rows and columns of a stored slice."""


@dataclass(frozen=True)
class CtScanner:
    """One scanner with the protocol its hospital uses.

    Attributes:
        field_of_view: smallest and largest width in mm of a slice.
        slice_distance: mm.
        noise: standard deviation in HU.
        blur: standard deviation in mm of the kernel's point spread.
        sharpening: share of the fine detail that a sharp kernel adds; its noise is finer as well.
        gain: HU of a tissue's difference to water, as a factor: tube voltage and filtering.
        offset: HU, an imperfect calibration.
        enhanced: share of the patients who were given contrast medium, where the organ leaves a choice.
        round_field: whether the corners of a slice are padding.
        kernel: its name in the header.
    """

    field_of_view: tuple[float, float]
    slice_distance: float
    noise: float
    blur: float
    sharpening: float
    gain: float
    offset: float
    enhanced: float
    round_field: bool
    kernel: str


LUNG_SCANNERS: Mapping[str, CtScanner] = {
    "a": CtScanner((300, 335), 3.0, 14, 0.7, 0.0, 1.00, 0, 0.35, True, "STANDARD"),
    "b": CtScanner((310, 345), 2.5, 22, 0.5, 0.25, 1.02, 4, 0.55, False, "B45f"),
    "c": CtScanner((305, 340), 3.0, 18, 0.9, 0.0, 0.98, -4, 0.15, False, "FC10"),
    "external": CtScanner((325, 360), 2.5, 34, 0.4, 0.4, 1.05, 12, 0.0, False, "B60f"),
    "reference": CtScanner((300, 340), 3.0, 17, 0.7, 0.1, 1.00, 0, 0.35, True, "STANDARD"),
}
"""Scanners of the demo's lung sites; the external one takes low-dose scans with a sharp kernel."""

LIVER_SCANNERS: Mapping[str, CtScanner] = {
    "a": CtScanner((350, 385), 2.5, 8, 0.9, 0.0, 1.00, 0, 1.0, True, "STANDARD"),
    "b": CtScanner((355, 395), 2.5, 10, 0.7, 0.2, 1.03, 3, 1.0, False, "B31f"),
    "c": CtScanner((350, 390), 3.0, 9, 1.1, 0.0, 0.97, -3, 1.0, True, "STANDARD"),
    "external": CtScanner((375, 410), 3.0, 15, 0.6, 0.3, 1.08, 6, 1.0, False, "FC08"),
    "reference": CtScanner((350, 390), 2.5, 9, 0.9, 0.0, 1.00, 0, 1.0, True, "STANDARD"),
}
"""Scanners of the demo's liver sites; the external one is noisier, with a lower tube voltage."""


def scanner_named(name: str, scanners: Mapping[str, CtScanner]) -> CtScanner:
    """The scanner ``name``.

    Raises:
        ConfigError: if there is none.
    """
    if name not in scanners:
        raise ConfigError(f"scanner={name}: known scanners of the demo cohort are {', '.join(scanners)}")
    return scanners[name]


def acquire(tissue: Array, pixel: float, scanner: CtScanner, rng: np.random.Generator) -> Array:
    """(Z, Y, X) HU as reconstructed, from true HU; ``pixel`` in mm. ``tissue`` is left as it is."""
    blur = scanner.blur / pixel * rng.uniform(0.9, 1.1)
    image = gaussian_filter(tissue, (0, blur, blur), truncate=3)
    if scanner.sharpening:
        image += np.float32(scanner.sharpening) * (image - gaussian_filter(image, (0, 1, 1), truncate=2.5))
    water = image + np.float32(1000)
    # Air stays air: gain acts on what is denser than water and on lung in proportion to its tissue.
    image = water * np.float32(1 + (scanner.gain - 1) * 0.3) - np.float32(1000)
    image += np.clip(image, 0, None) * np.float32(scanner.gain - 1) + np.float32(scanner.offset)
    image += np.float32(scanner.noise * rng.uniform(0.85, 1.2)) * _noise(image.shape, scanner, rng)
    return np.asarray(np.clip(image, -1024, 3071), np.float32)


def round_field(shape: tuple[int, int]) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """(rows, columns) True within the circle that a scanner reconstructs."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    middle = (shape[0] - 1) / 2, (shape[1] - 1) / 2
    within: np.ndarray[tuple[int, int], np.dtype[np.bool_]] = (
        np.hypot(rows - middle[0], columns - middle[1]) <= shape[1] / 2
    )
    return within


def _noise(shape: tuple[int, ...], scanner: CtScanner, rng: np.random.Generator) -> Array:
    """Noise of standard deviation 1, correlated in the plane, stronger in the middle of the body."""
    grain = 0.75 - 0.35 * min(1.0, scanner.sharpening)
    noise = rng.standard_normal(shape, dtype=np.float32)
    noise = gaussian_filter(noise, (0, grain, grain), truncate=3)
    noise /= noise.std()
    rows, columns = np.ogrid[-1 : 1 : shape[1] * 1j, -1 : 1 : shape[2] * 1j]
    middle = np.exp(-(rows**2 + columns**2) / 0.7).astype(np.float32)
    noise *= np.float32(0.75) + np.float32(0.45) * middle
    return np.asarray(noise, np.float32)
