"""Where the voxels of a NIfTI file lie, and what of that its header does not say: then it is a guess, and told."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from nibabel.affines import voxel_sizes
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform
from nibabel.spatialimages import HeaderDataError

from common.errors import ConfigError
from common.imaging.readers.nifti import NiftiHeader

Affine = npt.NDArray[np.float64]

TOLERANCE = 0.01
"""Millimetres (and parts of a voxel) within which two grids are the same."""
_UNITS = {"meter": 1000.0, "micron": 0.001}
_PLAUSIBLE_MM = (0.05, 20.0)
_USUAL = "LAS"
"""How nibabel, FSL and SPM read a header that states nothing, as its predecessor Analyze was read."""
_SIDES = ("RL", "AP", "SI")
_STEEP = 30.0


@dataclass(frozen=True)
class Grid:
    """The voxels (X, Y, Z) of one file.

    Attributes:
        shape: voxels along each axis.
        affine: (4, 4) from voxel to millimetres towards right, anterior and superior.
        stated: False where the header does not say where the voxels lie, or holds voxel sizes alone.
        spacing_known: False where the size of a voxel is a stand-in.
        remarks: what was guessed, in words that are the same for every file of which they hold.
    """

    shape: tuple[int, int, int]
    affine: Affine
    stated: bool = True
    spacing_known: bool = True
    remarks: tuple[str, ...] = ()

    @property
    def turn(self) -> npt.NDArray[np.float64]:
        """How its axes are turned and flipped to LPS, as nibabel writes it.

        Raises:
            ValueError: if two axes point the same way, also within rounding, or one nowhere.
        """
        if not _usable(self.affine):
            raise ValueError("singular")
        return np.asarray(ornt_transform(io_orientation(self.affine), axcodes2ornt(("L", "P", "S"))))

    @property
    def lps_affine(self) -> Affine:
        """The affine once the axes are turned to LPS."""
        return np.asarray(self.affine @ inv_ornt_aff(self.turn, self.shape))

    def told(self, *remarks: str) -> "Grid":
        """The same grid with more remarks."""
        return replace(self, remarks=(*self.remarks, *remarks))


def check_orientation(reader: str, orientation: str) -> None:
    """Refuses an option that is no orientation.

    Raises:
        ConfigError: if it is neither empty nor three letters, one of each of R/L, A/P and S/I.
    """
    ways = {pair for letter in orientation for pair in _SIDES if letter in pair}
    if orientation and not (re.fullmatch("[RLAPSI]{3}", orientation) and len(ways) == 3):
        raise ConfigError(
            f"reader {reader}: orientation is {orientation!r}; write three letters that say where the three axes of "
            "the array point, e.g. orientation: RAS or orientation: LPS"
        )


def grid_of(header: NiftiHeader, orientation: str = "") -> Grid:
    """What a header states of its voxels, completed by guesses that are told.

    Args:
        orientation: of a file that states none, e.g. ``"LPS"``: where the axes of its array point; empty to guess.
    """
    x, y, z, *_ = (*header.shape, 1, 1, 1)
    shape = (x, y, z)
    fields = header.fields
    sform, qform = _form(fields, "sform"), _form(fields, "qform")
    both = [form for form in (sform, qform) if form is not None]
    usable = [form for form in both if _usable(form)] or both
    affine = next((form for form in usable if not _bare(form)), usable[0] if usable else None)
    if affine is None:
        sizes = np.abs(np.array(fields["pixdim"][1:4], np.float64))
        grid = _unstated(shape, np.nan_to_num(sizes, nan=1.0, posinf=1.0), orientation)
    elif not _bare(affine):
        grid = Grid(shape, affine)
    elif orientation:
        grid = _unstated(shape, voxel_sizes(affine), orientation)
    else:
        told = "the header states voxel sizes alone, as software writes that knows no orientation; taken as RAS"
        grid = Grid(shape, affine, stated=False).told(f"{told}; options.orientation says which it is")
    if len(both) == 2 and not np.allclose(both[0], both[1], atol=TOLERANCE):
        which = "sform" if affine is sform else "qform"
        grid = grid.told(f"the header's two orientations (sform, qform) differ, taken the {which}")
    stated_sizes = bool(np.isfinite(header.pixdim).all() and (header.pixdim > 0).all())
    if (sform is None or affine is qform) and not stated_sizes:
        told = "the header states no voxel size or a negative one, taken as 1 mm or as positive"
        grid = replace(grid, spacing_known=False).told(told)
    elif stated_sizes and not np.allclose(voxel_sizes(grid.affine), header.pixdim, rtol=0.01):
        grid = grid.told("the header's two voxel sizes (pixdim, sform) differ, taken those of the sform")
    return _tilt_told(_in_millimetres(grid, fields))


def agreed(grids: Sequence[Grid], orientation: str = "") -> list[Grid]:
    """The grids of the files of one case, where those that state none take that of one that does.

    Only where they have as many voxels, and no ``orientation`` was given for them.
    """
    leader = next((grid for grid in grids if grid.stated and _usable(grid.affine)), None)
    if leader is None or orientation:
        return list(grids)
    return [_beside(grid, leader) for grid in grids]


def _beside(grid: Grid, leader: Grid) -> Grid:
    if grid.stated or grid.shape != leader.shape:
        return grid
    if _usable(grid.affine) and np.allclose(grid.lps_affine, leader.lps_affine, atol=TOLERANCE):
        return replace(grid, stated=True, remarks=grid.remarks[1:])  # It was meant, so the first remark goes.
    told = "the header of one file states no orientation, taken that of another file of its case"
    return replace(leader, stated=False, remarks=(told,))


def _unstated(shape: tuple[int, int, int], spacing: npt.NDArray[np.float64], orientation: str) -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, (way, size) in enumerate(zip(orientation or _USUAL, spacing, strict=True)):
        row = next(row for row, ends in enumerate(_SIDES) if way in ends)
        affine[row, axis] = size if way in "RAS" else -size
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    grid = Grid(shape, affine, stated=False)
    told = f"the header states no orientation, taken as {_USUAL}; options.orientation says which it is"
    return grid if orientation else grid.told(told)


def _form(fields: Any, name: str) -> Affine | None:
    """The sform or qform where its code says that there is one; zeros where it cannot be computed."""
    if not int(fields[f"{name}_code"]):
        return None
    try:
        with np.errstate(all="ignore"):
            return np.asarray(getattr(fields, f"get_{name}")(), dtype=np.float64)
    except (ValueError, HeaderDataError):  # Quaternions of no rotation.
        return np.zeros((4, 4))


def _usable(affine: Affine) -> bool:
    with np.errstate(all="ignore"):
        return bool(np.isfinite(affine).all() and abs(np.linalg.det(affine[:3, :3])) > 1e-12)


def _bare(affine: Affine) -> bool:
    """Whether a matrix holds voxel sizes and nothing else: no scanner puts its first voxel exactly at the origin."""
    sizes = np.diag(affine)[:3]
    return bool(np.array_equal(affine, np.diag([*sizes, 1.0])) and (sizes > 0).all())


def _in_millimetres(grid: Grid, fields: Any) -> Grid:
    """The grid in millimetres, where the header counts in another unit and its sizes bear that out."""
    if not _usable(grid.affine):
        return grid
    unit = {1: "meter", 3: "micron"}.get(int(fields["xyzt_units"]) % 8, "")
    factor = _UNITS.get(unit, 1.0)
    sizes = voxel_sizes(grid.affine)
    if factor != 1.0 and (_plausible(sizes * factor) or not _plausible(sizes)):
        affine = np.diag([factor, factor, factor, 1.0]) @ grid.affine
        grid, sizes = replace(grid, affine=affine), sizes * factor
    elif factor != 1.0:
        grid = grid.told(f"the header counts in {unit}s, but its voxels are as large as millimetres; taken as those")
    if _plausible(sizes):
        return grid
    return grid.told(f"voxels smaller than {_PLAUSIBLE_MM[0]} mm or larger than {_PLAUSIBLE_MM[1]:g} mm, as stated")


def _plausible(sizes: npt.NDArray[np.float64]) -> bool:
    return bool((sizes >= _PLAUSIBLE_MM[0]).all() and (sizes <= _PLAUSIBLE_MM[1]).all())


def _tilt_told(grid: Grid) -> Grid:
    if not _usable(grid.affine):
        return grid
    along = np.abs(grid.affine[:3, :3] / voxel_sizes(grid.affine)).max(axis=0)
    if along.min() >= np.cos(np.radians(_STEEP)):
        return grid
    return grid.told(f"slices tilted by more than {_STEEP:g} degrees, taken as the nearest of the three directions")
