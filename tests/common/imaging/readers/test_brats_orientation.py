"""Headers that do not say where the voxels lie, as software writes them that was handed bare arrays."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import apply_orientation, axcodes2ornt, ornt_transform

from common.errors import BadStudyError
from common.imaging.patient import Patient
from common.imaging.readers.brats import BratsReader
from common.imaging.remarks import Remark

LAS = Remark("guess", "the header states no orientation, taken as LAS; options.orientation says which it is")
BORROWED = Remark("guess", "the header of one file states no orientation, taken that of another file of its case")


def read(root: Path, **options: Any) -> Patient:
    reader = BratsReader(**options)
    (location,) = reader.find(root)
    return reader.read(location)


def bare(path: Path, codes: str = "LPS") -> None:
    """Writes a file's voxels again, in the order of ``codes``, with a header that states nothing."""
    image = nib.load(path)
    turn = ornt_transform(axcodes2ornt(nib.aff2axcodes(image.affine)), axcodes2ornt(tuple(codes)))
    nib.save(nib.Nifti1Image(apply_orientation(np.array(image.dataobj), turn), None), path)
    header = nib.load(path).header
    assert int(header["sform_code"]) == int(header["qform_code"]) == 0


def test_a_case_that_states_no_orientation_is_read_as_the_option_says_and_otherwise_told(tmp_path, write_case) -> None:
    folder = write_case(tmp_path)
    right = read(tmp_path)
    for path in folder.iterdir():
        bare(path)
    guessed = read(tmp_path)
    assert guessed.remarks == (LAS,)
    np.testing.assert_array_equal(guessed.images, right.images[:, :, ::-1])
    said = read(tmp_path, orientation="LPS")
    assert said.remarks == ()
    np.testing.assert_array_equal(said.images, right.images)
    np.testing.assert_array_equal(said.labels, right.labels)


@pytest.mark.parametrize("codes", ["RAS", "LAS", "PIR", "SLA"])
def test_the_option_may_be_any_orientation(tmp_path, write_case, codes: str) -> None:
    folder = write_case(tmp_path)
    right = read(tmp_path)
    for path in folder.iterdir():
        bare(path, codes)
    np.testing.assert_array_equal(read(tmp_path, orientation=codes).images, right.images)


def test_a_mask_that_states_none_lies_where_its_image_lies_and_that_is_told(tmp_path, write_case) -> None:
    path = write_case(tmp_path) / "BraTS2021_00001_seg.nii.gz"
    right = read(tmp_path)
    for affine in (None, np.eye(4)):
        nib.save(nib.Nifti1Image(np.asarray(nib.load(path).dataobj), affine), path)
        patient = read(tmp_path)
        np.testing.assert_array_equal(patient.labels, right.labels)
        np.testing.assert_array_equal(patient.images, right.images)
        assert patient.remarks == (BORROWED,)
        assert right.remarks == ()


def test_a_mask_that_states_none_is_turned_as_the_option_says_also_beside_an_image_that_does(
    tmp_path, write_case
) -> None:
    path = write_case(tmp_path) / "BraTS2021_00001_seg.nii.gz"
    right = read(tmp_path)
    bare(path, "RAS")
    assert not np.array_equal(read(tmp_path).labels, right.labels)
    patient = read(tmp_path, orientation="RAS")
    np.testing.assert_array_equal(patient.labels, right.labels)
    assert patient.remarks == ()


def test_a_mask_of_other_axes_that_states_none_is_refused(tmp_path, write_case) -> None:
    path = write_case(tmp_path) / "BraTS2021_00001_seg.nii.gz"
    bare(path, "SPL")
    with pytest.raises(BadStudyError, match=r"seg\.nii\.gz: .* voxels"):
        read(tmp_path)


def test_a_missing_voxel_size_is_a_stand_in(tmp_path, write_case) -> None:
    folder = write_case(tmp_path, files={"seg": None}, naming="{case}_{role}.nii")
    path = folder / "BraTS2021_00001_flair.nii"
    bare(path)
    content = bytearray(path.read_bytes())
    content[80:92] = bytes(12)
    path.write_bytes(content)
    patient = read(tmp_path)
    assert patient.spacing == (1.0, 1.0, 1.0)
    assert not patient.spacing_known
    assert len(patient.remarks) == 2


@pytest.mark.parametrize("suffixes", [(".hdr", ".img")])
def test_a_pair_of_files_is_refused_with_the_reason(tmp_path, write_case, suffixes) -> None:
    folder = write_case(tmp_path)
    path = folder / "BraTS2021_00001_flair.nii.gz"
    nib.save(nib.Nifti1Pair(np.asarray(nib.load(path).dataobj), np.eye(4)), path.with_name("BraTS2021_00001_flair.hdr"))
    path.unlink()
    with pytest.raises(BadStudyError, match=r"flair\.hdr: is one half of a pair \(\.hdr and \.img\)"):
        read(tmp_path)
    nib.save(nib.AnalyzeImage(np.ones((36, 40, 12), np.int16), None), path.with_name("BraTS2021_00001_flair.hdr"))
    with pytest.raises(BadStudyError, match=r"is in the older format Analyze 7\.5, which does not tell left"):
        read(tmp_path)
