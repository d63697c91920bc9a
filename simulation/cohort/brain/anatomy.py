"""A head: the MNI152 template, bent into one person's anatomy."""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter
from torch import Tensor

from common.errors import DataError
from simulation.cohort.fields import Array, Grid, SmoothField, soft_step

_FILE_ORIGIN = (-98.0, -134.0, -72.0)
_FILES = ("t1", "gm", "wm")
_HEAD = (slice(20, 178), slice(20, 214), slice(0, 162))
"""Voxels of the template's files that hold the head."""

HEAD_CENTRE = (70.0, 130.5, 118.5)
"""BraTS voxel (z, y, x) where MNI (0, -17, 0) comes to lie, as in the released cases."""

HEAD_SCALE = (0.90, 0.93, 0.93)
"""The template is larger than most heads; unscaled, its vertex would leave the 155 slices."""

ELASTIC = ((80.0, 2.2), (28.0, 1.2), (13.0, 0.8))
"""Feature size and standard deviation in mm of the random displacements."""


@dataclass(frozen=True)
class Template:
    """The part of the template that holds the head.

    Attributes:
        volumes: (4, nx, ny, nz) float32: grey and white matter as fractions; what the T1 image shows beyond them
            (nuclei, tracts), about -0.1 to 0.1; and depth, a smoothed head mask, 0.5 at its surface and rising
            inwards over about 8 mm.
        origin: MNI coordinates (x right, y anterior, z superior) in mm of the first voxel; voxels are 1 mm.
    """

    volumes: Tensor
    origin: tuple[float, float, float]

    def at(self, position: Sequence[Array]) -> Array:
        """(4, nz, ny, nx) the volumes, trilinear, at MNI mm (x, y, z), each (nz, ny, nx); 0 beyond the template."""
        # grid_sample wants -1..1 over the volume and the last axis first.
        grid = np.empty((*position[0].shape, 3), np.float32)
        for axis, (mm, start, size) in enumerate(zip(position, self.origin, self.volumes.shape[1:], strict=True)):
            np.multiply(mm, np.float32(2 / (size - 1)), out=grid[..., 2 - axis])
            grid[..., 2 - axis] -= np.float32(1 + 2 * start / (size - 1))
        sampled = F.grid_sample(self.volumes[None], torch.from_numpy(grid)[None], align_corners=True)
        return sampled[0].numpy()


@dataclass(frozen=True)
class Anatomy:
    """One person's tissues on a grid; every array is (nz, ny, nx) float32.

    Attributes:
        white, grey, fluid: fractions that sum to 1.
        detail: fine structure of the template, about -0.1 to 0.1.
        brain: bool, what skull stripping leaves.
        depth: see :class:`Template`.
        position: MNI mm along (x, y, z) of each sample, before the random displacement of the person.
    """

    white: Array
    grey: Array
    fluid: Array
    detail: Array
    brain: npt.NDArray[np.bool_]
    depth: Array
    position: tuple[Array, Array, Array]


@lru_cache(maxsize=1)
def load_template() -> Template:
    """The template volumes, read once for each process.

    Raises:
        DataError: if nilearn, whose wheel carries the template, is not installed or lacks the files.
    """
    spec = importlib.util.find_spec("nilearn")
    if spec is None or spec.origin is None:
        raise DataError("the demo cohort needs the package nilearn, which carries the MNI152 template: install it")
    folder = Path(spec.origin).parent / "datasets" / "data"
    t1, grey, white = (_read(folder / f"mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz") for name in _FILES)
    inside = t1 > 0.1
    expected = 0.85 * white + 0.62 * grey + 0.25 * np.clip(1 - white - grey, 0, 1)
    residual = np.where(inside, t1 - expected, 0)
    detail = np.where(inside, residual - gaussian_filter(residual, 6), 0)
    depth = gaussian_filter(inside.astype(np.float32), 4)
    volumes = torch.from_numpy(np.stack([grey, white, detail, depth]))
    x, y, z = (o + s.start for o, s in zip(_FILE_ORIGIN, _HEAD, strict=True))
    return Template(volumes, (x, y, z))


def _read(path: Path) -> Array:
    if not path.is_file():
        raise DataError(f"{path.name} is missing from nilearn's data: install nilearn 0.13 or later again")
    image: Any = nib.load(path)
    return np.asarray(image.dataobj)[_HEAD].astype(np.float32) / np.float32(255)


class Head:
    """How one person differs from the template: pose, size, shape, left-right flip, width of the fluid spaces."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._matrix = _rotation(rng.uniform(-5, 5, 3)) @ np.diag(rng.uniform(0.95, 1.05) + rng.uniform(-0.03, 0.03, 3))
        self._shift = rng.uniform(-3, 3, 3)
        self._mirror = -1.0 if rng.random() < 0.5 else 1.0
        self._elastic = [(amount, [SmoothField(rng, size) for _ in range(3)]) for size, amount in ELASTIC]
        self._atrophy = float(rng.uniform(0.8, 2.6))
        self._folds = SmoothField(rng, 7)
        self._sulci = SmoothField(rng, 20)
        self._edge = SmoothField(rng, 9)

    def on(self, grid: Grid, push: tuple[Array, Array, Array] | None = None) -> Anatomy:
        """The person's tissues on ``grid``.

        Args:
            push: mass effect along (z, y, x) in mm, each (nz, ny, nx): how far tissue has been displaced.
        """
        position = self._template_position(grid, push)
        grey, white, detail, depth = load_template().at(position)
        brain = depth + 0.03 * self._edge.on(grid) > 0.65
        # Near the surface people's folds differ most, so the template shows none. A smooth field is zero on curved
        # sheets: these become sulci, and what lies far from any sheet becomes the white core of a gyrus.
        sheets = np.abs(self._sulci.on(grid))
        surface = soft_step(0.93 - depth, 0.06) * soft_step(depth - 0.6, 0.1)
        fluid = np.clip(1 - white - grey, 0, 1) + 0.45 * surface * soft_step(0.10 - sheets, 0.10)
        white = white + 0.35 * surface * soft_step(sheets - 0.75, 0.35)
        gain = self._atrophy * np.exp(0.4 * self._folds.on(grid)) * soft_step(depth - 0.64, 0.06)
        white, grey, fluid = _sharpen(white, grey, fluid * gain)
        return Anatomy(white, grey, fluid, detail, brain, depth, position)

    def _template_position(self, grid: Grid, push: tuple[Array, Array, Array] | None) -> tuple[Array, Array, Array]:
        """MNI mm (x, y, z) of each sample of ``grid``."""
        offsets = grid.offsets(np.array(HEAD_CENTRE))
        if push is not None:
            offsets = tuple(o - p for o, p in zip(offsets, push, strict=True))  # type: ignore[assignment]
        # BraTS axes point superior, posterior, left; MNI axes point right, anterior, superior.
        z, y, x = (o / np.float32(s) for o, s in zip(offsets, HEAD_SCALE, strict=True))
        signed = (-x, -y, z)
        position = []
        for row, centre, shift in zip(self._matrix, (0.0, -17.0, 0.0), self._shift, strict=True):
            axis = sum((np.float32(m) * s for m, s in zip(row, signed, strict=True)), np.float32(centre + shift))
            position.append(np.broadcast_to(axis, grid.shape).astype(np.float32))
        for amount, fields in self._elastic:
            for axis, field in zip(position, fields, strict=True):
                axis += np.float32(amount) * field.on(grid)
        position[0] *= np.float32(self._mirror)
        return position[0], position[1], position[2]


def _sharpen(white: Array, grey: Array, fluid: Array) -> tuple[Array, Array, Array]:
    """Fractions of one person from those of an average: squared and rescaled to sum 1.

    An average of many people is blurred; squaring moves each sample towards its most likely tissue.
    """
    parts = [white * white, grey * grey, fluid * fluid]
    total = parts[0] + parts[1] + parts[2] + np.float32(1e-6)
    return parts[0] / total, parts[1] / total, parts[2] / total


def _rotation(degrees: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Rotation about x, then y, then z."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    rotation: npt.NDArray[np.float64] = about_x @ about_y @ about_z
    return rotation
