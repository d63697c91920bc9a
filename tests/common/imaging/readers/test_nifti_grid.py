from typing import Any

import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import voxel_sizes

from common.errors import ConfigError
from common.imaging.readers.nifti import NiftiHeader
from common.imaging.readers.nifti_grid import Grid, agreed, check_orientation, grid_of

SHAPE = (20, 24, 6)
LPS = np.array([[-0.9, 0, 0, 8], [0, -0.9, 0, 21], [0, 0, 4.0, -3], [0, 0, 0, 1]])


def header(
    sform: np.ndarray | None = None,
    qform: np.ndarray | None = None,
    pixdim: tuple[float, float, float] | None = None,
    unit: str = "mm",
) -> NiftiHeader:
    fields: Any = nib.Nifti1Header()
    fields.set_data_shape(SHAPE)
    fields.set_sform(sform, 2 if sform is not None else 0)
    fields.set_qform(qform, 1 if qform is not None else 0)
    if sform is not None and qform is None:
        fields.set_zooms(voxel_sizes(sform))
    if pixdim is not None:
        fields["pixdim"][1:4] = pixdim
    fields.set_xyzt_units(unit)
    stored = np.array(fields["pixdim"][1:4], dtype=np.float64)
    fields.check_fix(error_level=50)
    return NiftiHeader(fields, stored)


def codes(grid: Grid) -> str:
    return "".join(nib.aff2axcodes(grid.affine))


def test_a_header_that_states_everything_leaves_nothing_to_tell() -> None:
    for stated in (header(LPS), header(LPS, LPS), header(qform=LPS), header(LPS, unit="unknown")):
        grid = grid_of(stated)
        np.testing.assert_allclose(grid.affine, LPS, atol=1e-5)
        assert grid.remarks == ()
        assert grid.stated
        assert grid.spacing_known


def test_a_header_without_an_orientation_is_guessed_as_nibabel_does_and_told() -> None:
    grid = grid_of(header(pixdim=(0.9, 0.8, 4.0)))
    assert codes(grid) == "LAS"
    np.testing.assert_allclose(grid.affine, header(pixdim=(0.9, 0.8, 4.0)).fields.get_base_affine(), atol=1e-6)
    assert grid.remarks == ("the header states no orientation, taken as LAS; options.orientation says which it is",)
    assert not grid.stated
    assert grid.spacing_known


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "LAS", "PIR", "SLA"])
def test_the_option_says_where_the_axes_point_and_leaves_nothing_to_guess(orientation: str) -> None:
    grid = grid_of(header(pixdim=(0.9, 0.8, 4.0)), orientation)
    assert codes(grid) == orientation
    assert voxel_sizes(grid.affine) == pytest.approx([0.9, 0.8, 4.0])
    assert grid.remarks == ()


def test_the_option_changes_nothing_where_the_header_states_an_orientation() -> None:
    np.testing.assert_allclose(grid_of(header(LPS), "RAS").affine, LPS, atol=1e-5)


@pytest.mark.parametrize("sizes", [(1.0, 1.0, 1.0), (0.9, 0.8, 4.0)])
def test_voxel_sizes_alone_are_told_and_the_option_says_what_they_are(sizes) -> None:
    bare = np.diag([*sizes, 1.0])
    for stated in (header(bare), header(bare, bare), header(qform=bare)):
        grid = grid_of(stated)
        assert codes(grid) == "RAS"
        assert not grid.stated
        (remark,) = grid.remarks
        assert remark.startswith("the header states voxel sizes alone")
        grid = grid_of(stated, "LPS")
        assert codes(grid) == "LPS"
        assert voxel_sizes(grid.affine) == pytest.approx(sizes)
        assert grid.remarks == ()


def test_of_two_orientations_the_one_that_says_something_is_taken() -> None:
    grid = grid_of(header(np.eye(4), LPS))
    np.testing.assert_allclose(grid.affine, LPS, atol=1e-5)
    assert grid.stated
    assert grid.remarks == ("the header's two orientations (sform, qform) differ, taken the qform",)


def test_two_orientations_that_differ_are_told_and_the_sform_is_taken_unless_it_is_useless() -> None:
    other = np.diag([0.9, 0.9, 4.0, 1.0])
    grid = grid_of(header(LPS, other))
    np.testing.assert_allclose(grid.affine, LPS, atol=1e-5)
    assert grid.remarks == ("the header's two orientations (sform, qform) differ, taken the sform",)
    grid = grid_of(header(np.zeros((4, 4)), LPS))
    np.testing.assert_allclose(grid.affine, LPS, atol=1e-5)
    assert grid.remarks == ("the header's two orientations (sform, qform) differ, taken the qform",)


@pytest.mark.parametrize("pixdim", [(0.0, 0.0, 0.0), (0.9, 0.9, 0.0), (-0.9, 0.9, 4.0), (np.nan, 1.0, 1.0)])
def test_a_voxel_size_that_is_missing_or_negative_is_told_and_does_not_count_as_known(pixdim) -> None:
    for stated in (header(pixdim=pixdim), header(qform=LPS, pixdim=pixdim)):
        grid = grid_of(stated)
        assert not grid.spacing_known
        assert "the header states no voxel size or a negative one, taken as 1 mm or as positive" in grid.remarks
    assert grid_of(header(LPS, pixdim=pixdim)).spacing_known


def test_two_voxel_sizes_that_differ_are_told() -> None:
    grid = grid_of(header(LPS, pixdim=(1.0, 1.0, 1.0)))
    assert voxel_sizes(grid.affine) == pytest.approx([0.9, 0.9, 4.0])
    assert grid.remarks == ("the header's two voxel sizes (pixdim, sform) differ, taken those of the sform",)


@pytest.mark.parametrize(("unit", "factor"), [("meter", 0.001), ("micron", 1000.0)])
def test_metres_and_micrometres_become_millimetres(unit: str, factor: float) -> None:
    stored = np.diag([factor, factor, factor, 1.0]) @ LPS
    grid = grid_of(header(stored, unit=unit))
    np.testing.assert_allclose(grid.affine, LPS, atol=1e-4)
    assert grid.remarks == ()
    grid = grid_of(header(LPS, unit=unit))
    np.testing.assert_allclose(grid.affine, LPS, atol=1e-5)
    assert grid.remarks == (
        f"the header counts in {unit}s, but its voxels are as large as millimetres; taken as those",
    )


@pytest.mark.parametrize("size", [0.001, 300.0])
def test_voxels_of_an_implausible_size_are_told(size: float) -> None:
    grid = grid_of(header(np.diag([-size, -size, size, 1.0])))
    assert grid.remarks == ("voxels smaller than 0.05 mm or larger than 20 mm, as stated",)


@pytest.mark.parametrize(("degrees", "told"), [(15, 0), (40, 1)])
def test_steeply_tilted_slices_are_told(degrees: float, told: int) -> None:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    tilt = np.array([[1, 0, 0, 0], [0, c, -s, 0], [0, s, c, 0], [0, 0, 0, 1]])
    grid = grid_of(header(tilt @ LPS))
    assert len(grid.remarks) == told


def test_a_file_that_states_nothing_takes_the_grid_of_another_of_its_case() -> None:
    for nothing in (header(pixdim=(1, 1, 1)), header(np.eye(4))):
        image, mask = agreed([grid_of(header(LPS)), grid_of(nothing)])
        np.testing.assert_allclose(mask.affine, image.affine)
        assert mask.remarks == ("the header of one file states no orientation, taken that of another file of its case",)
        mask, image = agreed([grid_of(nothing), grid_of(header(LPS))])
        np.testing.assert_allclose(mask.affine, image.affine)
        assert image.remarks == ()


def test_an_identity_that_lies_where_the_other_file_lies_was_meant() -> None:
    identity = grid_of(header(np.eye(4)))
    turned = identity.lps_affine
    first, second = agreed([identity, grid_of(header(turned))])
    assert first.stated
    assert first.remarks == second.remarks == ()
    np.testing.assert_array_equal(first.affine, np.eye(4))


def test_a_file_of_another_shape_or_with_the_option_given_takes_no_other_grid() -> None:
    other = Grid((6, 24, 20), grid_of(header(pixdim=(1, 1, 1))).affine, stated=False, remarks=("guessed",))
    assert agreed([grid_of(header(LPS)), other])[1] is other
    option = grid_of(header(pixdim=(1, 1, 1)), "RAS")
    assert agreed([grid_of(header(LPS)), option], "RAS")[1] is option


def test_only_three_letters_of_three_directions_are_an_orientation() -> None:
    for right in ("", "RAS", "LPS", "SLA"):
        check_orientation("brats", right)
    for wrong in ("ras", "RA", "RLS", "RASS", "XYZ", "R A S"):
        with pytest.raises(ConfigError, match="reader brats: orientation is"):
            check_orientation("brats", wrong)
