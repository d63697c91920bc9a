"""Simple heads and chests whose every voxel is known."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from common.imaging.patient import Patient
from common.imaging.steps.study import Study

Shape = tuple[int, int, int]
Volume = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


def ellipse(shape: Shape, radius: float = 0.8) -> Mask:
    """The same disc on every slice."""
    _, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    return np.asarray(x**2 + y**2 < radius**2)


def ellipsoid(shape: Shape, centre: tuple[float, float, float], radii: tuple[float, float, float]) -> Mask:
    """Centre and radii in voxels along (z, y, x)."""
    grid = np.indices(shape)
    return np.asarray(sum(((grid[a] - centre[a]) / radii[a]) ** 2 for a in range(3)) < 1)


def brain(shape: Shape = (10, 48, 40), seed: int = 0) -> Volume:
    """Noisy tissue in a disc on a background of 0."""
    tissue = np.random.default_rng(seed).normal(400, 60, shape)
    return np.where(ellipse(shape), tissue, 0).astype(np.float32)


def patient_of(images: Volume, labels: npt.NDArray[np.uint8] | None, **changes) -> Patient:
    values = {
        "patient": "p",
        "organ": "brain",
        "contrasts": ("flair",),
        "spacing": (1.0, 1.0, 1.0),
        "source": Path("p"),
    }
    return Patient(images=images, labels=labels, **{**values, **changes})


def study_of(images: Volume, **changes) -> Study:
    """All of it inside, without lesions, 1 mm."""
    shape = images.shape[1:]
    values = {
        "inside": np.ones(shape, bool),
        "labels": np.zeros(shape, np.uint8),
        "organ": None,
        "stated": None,
        "height": np.arange(shape[0], dtype=float),
        "spacing": (1.0, 1.0, 1.0),
    }
    return Study(images=images, **{**values, **changes})


@dataclass(frozen=True)
class Thorax:
    """A chest at 2 mm: HU, its body, each lung with what is in it, the windpipe, and a nodule at the right pleura."""

    hu: Volume
    body: Mask
    right: Mask
    left: Mask
    windpipe: Mask
    nodule: Mask
    spacing: tuple[float, float, float] = (2.0, 2.0, 2.0)


def thorax(seed: int = 0) -> Thorax:
    shape = (60, 120, 150)
    body = ellipsoid(shape, (30, 60, 75), (1e3, 52, 70))
    right = ellipsoid(shape, (28, 60, 45), (24, 35, 24))
    left = ellipsoid(shape, (28, 60, 105), (24, 35, 22))
    windpipe = ellipsoid(shape, (55, 60, 75), (30, 4, 4)) & ~right & ~left
    nodule = ellipsoid(shape, (28, 60, 23), (4, 4, 4)) & right
    vessel = ellipsoid(shape, (28, 60, 55), (2, 2, 8))
    stomach = ellipsoid(shape, (2, 40, 95), (6, 12, 14)) & ~left
    hu = np.select(
        [nodule, vessel & right, right | left, windpipe | stomach, body], [30, 40, -850, -1000, 40], -1000
    ) + np.random.default_rng(seed).normal(0, 15, shape)
    return Thorax(hu.astype(np.float32), body, right, left, windpipe, nodule)
