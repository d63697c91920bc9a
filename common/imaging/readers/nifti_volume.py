"""One NIfTI file as a volume in LPS, and a mask's values as the whole numbers that they stand for."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from nibabel.affines import voxel_sizes
from nibabel.orientations import apply_orientation

from common.errors import BadStudyError
from common.imaging.readers.nifti import NiftiHeader, read_header, read_voxels
from common.imaging.readers.nifti_grid import TOLERANCE, Grid, agreed, grid_of
from common.imaging.remarks import Remark

_SMALLEST_SIDE = 16
_MOST_VOXELS = 2**28
"""A volume of 512 x 512 x 1024: 1 GB as float32. A damaged header can claim any size."""
_NEARLY = 1e-3
"""How far a mask's value may lie from a whole number: what scaling and storing as float leave of it is far less, what
interpolation makes far more."""
_NOTHING = 1e-6


@dataclass(frozen=True)
class Volume:
    """One volume in LPS.

    Attributes:
        name: of its file.
        values: (Z, Y, X) as stored, floating point as float32.
        grid: of the file, before it was turned.
        affine: (4, 4) of (X, Y, Z) once turned, to millimetres.
        spacing: millimetres along (z, y, x).
    """

    name: str
    values: npt.NDArray[Any]
    grid: Grid
    affine: npt.NDArray[np.float64]
    spacing: tuple[float, float, float]

    def check_same_grid(self, other: "Volume") -> None:
        """Refuses a volume of another shape or place; of a file that states no place the shape alone is compared.

        Raises:
            BadStudyError: if they differ.
        """
        if self.values.shape != other.values.shape:
            mine, theirs = ("x".join(map(str, v.values.shape[::-1])) for v in (self, other))
            raise BadStudyError(f"{self.name}: has {mine} voxels, {other.name} has {theirs}")
        if self.grid.stated != other.grid.stated:
            return
        if not np.allclose(self.affine, other.affine, atol=TOLERANCE):
            raise BadStudyError(f"{self.name}: lies elsewhere in space than {other.name}")

    def check_shows_something(self) -> None:
        """Refuses an image in which nothing can be seen.

        Raises:
            BadStudyError: if every voxel has the same value.
        """
        if self.values.min() == self.values.max():
            raise BadStudyError(f"{self.name}: image is empty, every voxel has the same value")


@dataclass(frozen=True)
class NiftiFile:
    """One file of a case, of which the header has been read."""

    path: Path
    header: NiftiHeader
    grid: Grid

    def load(self, channel: int | None = None) -> Volume:
        """Its voxels.

        Args:
            channel: which volume of several (the fourth axis); None where there has to be one alone.

        Raises:
            BadStudyError: if they cannot be read, are no volume of numbers or too many, or hold NaN or infinity.
        """
        name, shape = self.path.name, self.header.shape
        if math.prod(shape) > _MOST_VOXELS:
            raise BadStudyError(f"{name}: {' x '.join(map(str, shape))} voxels are more than can be one volume")
        try:
            values = read_voxels(self.path, self.header)
        except ImportError:  # A package that is missing is no damaged file.
            raise
        except Exception as error:  # A damaged header or stream makes nibabel raise nearly anything.
            raise BadStudyError(f"{name}: {_DAMAGED}") from error
        values = _one_volume(values, channel, name)
        if values.dtype.kind not in "iuf":
            raise BadStudyError(f"{name}: its voxels are no plain numbers")
        with np.errstate(over="ignore"):
            values = values.astype(np.float32, copy=False) if values.dtype.kind == "f" else values
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise BadStudyError(f"{name}: holds values that are NaN or infinite")
        try:
            turn, affine = self.grid.turn, self.grid.lps_affine
        except ValueError as error:
            raise BadStudyError(f"{name}: its header gives no usable orientation and spacing") from error
        values = apply_orientation(values, turn).transpose(2, 1, 0)
        if min(values.shape[1:]) < _SMALLEST_SIDE or len(values) == 0:
            raise BadStudyError(
                f"{name}: {len(values)} slices of {values.shape[1]} x {values.shape[2]} voxels are too small"
            )
        x, y, z = (float(step) for step in voxel_sizes(affine))
        return Volume(name, values, self.grid, affine, (z, y, x))


_DAMAGED = "cannot be read, the file is damaged or incomplete"


def open_case(paths: Sequence[Path], orientation: str = "") -> list[NiftiFile]:
    """The files of one case: what their headers say, and what they say together.

    Args:
        orientation: of files whose header states none, e.g. ``"LPS"``; empty to guess.

    Raises:
        BadStudyError: if a header cannot be read.
    """
    headers = [_header(path) for path in paths]
    grids = agreed([grid_of(header, orientation) for header in headers], orientation)
    return [NiftiFile(*one) for one in zip(paths, headers, grids, strict=True)]


def guesses(files: Iterable[NiftiFile]) -> tuple[Remark, ...]:
    """What was guessed of where the voxels of a case lie, each once."""
    return tuple(dict.fromkeys(Remark("guess", what) for file in files for what in file.grid.remarks))


def stacked(
    files: Sequence[NiftiFile], channels: Sequence[int | None] | None = None
) -> tuple[Volume, npt.NDArray[np.float32]]:
    """The first image of a case, and all of them as (C, Z, Y, X) float32.

    Args:
        channels: for each file, which of its volumes; None where each holds one.

    Raises:
        BadStudyError: if one cannot be read, shows nothing, or lies on another grid than the first.
    """
    chosen = channels or [None] * len(files)
    first = files[0].load(chosen[0])
    images = np.empty((len(files), *first.values.shape), np.float32)
    for index, (file, channel) in enumerate(zip(files, chosen, strict=True)):
        # One at a time: memory that has just been let go is used again, which is faster than new memory.
        volume = file.load(channel) if index else first
        volume.check_same_grid(first)
        volume.check_shows_something()
        images[index] = volume.values
    return first, images


def whole_numbers(mask: Volume) -> npt.NDArray[Any]:
    """The values of a mask (Z, Y, X) as integers, whatever type they were stored in.

    Raises:
        BadStudyError: if one lies further than 0.001 from a whole number, or all are small but not 0.
    """
    if mask.values.dtype.kind != "f":
        return mask.values
    whole = np.rint(mask.values)
    # A mask whose values are all small is no empty one: its scale is lost.
    nearly = _NEARLY if whole.any() else _NOTHING
    odd = np.unique(mask.values[np.abs(mask.values - whole) > nearly]).tolist()
    if odd:
        found = ", ".join(f"{value:.7g}" for value in odd[:3])
        raise BadStudyError(
            f"{mask.name}: mask holds {found}, which is no label; it was interpolated or shows probabilities: resample "
            "masks with nearest neighbour"
        )
    if np.abs(whole).max(initial=0) > np.iinfo(np.int32).max:
        raise BadStudyError(f"{mask.name}: mask holds {np.abs(whole).max():g}, which is no label")
    return np.asarray(whole, dtype=np.int32)


def _header(path: Path) -> NiftiHeader:
    try:
        return read_header(path)
    except (BadStudyError, ImportError):
        raise
    except Exception as error:  # A damaged header or stream makes nibabel raise nearly anything.
        raise BadStudyError(f"{path.name}: {_DAMAGED}") from error


def _one_volume(values: npt.NDArray[Any], channel: int | None, name: str) -> npt.NDArray[Any]:
    if channel is not None and values.ndim == 4 and channel < values.shape[3]:
        return values[..., channel]
    if channel is None and values.ndim > 3 and set(values.shape[3:]) == {1}:
        return values.reshape(values.shape[:3])
    if channel is not None:
        held = values.shape[3] if values.ndim > 3 else 1
        raise BadStudyError(f"{name}: holds {held} channels, and the one of number {channel} is asked for")
    if values.ndim != 3:
        raise BadStudyError(f"{name}: has {values.ndim} dimensions, expected a volume of 3")
    return values
