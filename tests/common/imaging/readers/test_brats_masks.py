"""Masks as people really have them: values a hair off, stored with a scale, under other names, or missing."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest

from common.errors import BadStudyError, ConfigError
from common.imaging.patient import Patient
from common.imaging.readers.brats import BratsReader
from common.imaging.remarks import Remark

SHAPE = (12, 40, 36)
CASE = "BraTS2021_00001"


def labelled() -> npt.NDArray[np.uint8]:
    labels = np.zeros(SHAPE, np.uint8)
    labels[4:8, 14:22, 12:20] = 2
    labels[5:7, 16:20, 14:18] = 4
    labels[5:7, 17:19, 15:17] = 1
    return labels


def read(root: Path, **options: Any) -> Patient:
    reader = BratsReader(**options)
    (location,) = reader.find(root)
    return reader.read(location)


def reason_of(root: Path, **options: Any) -> str:
    with pytest.raises(BadStudyError) as caught:
        read(root, **options)
    return caught.value.reason


def scaled(path: Path, stored: npt.NDArray[Any], slope: float, inter: float, affine: npt.NDArray[np.float64]) -> None:
    """Writes integers whose header scales them, exactly as they are given."""
    image = nib.Nifti1Image(np.zeros(stored.shape, stored.dtype), affine)
    plain = bytearray(image.to_bytes())
    plain[112:120] = np.array([slope, inter], "<f4").tobytes()
    plain[352:] = stored.tobytes(order="F")
    path.write_bytes(plain)


@pytest.mark.parametrize(
    "stored",
    [
        labelled() * np.float64(0.9999999),
        labelled() * np.float32(0.9999999),
        labelled() + np.float32(0.0004),
        labelled() - np.float64(1e-9),
        np.where(labelled() == 0, np.float32(0.0009), labelled().astype(np.float32)),
        np.where(labelled() == 0, np.float32(-0.0), labelled().astype(np.float32)),
        labelled().astype(np.int32),
    ],
    ids=["float64", "float32", "a little above", "a little below", "noise", "negative zero", "int32"],
)
def test_labels_that_are_whole_but_for_rounding_are_those_labels(tmp_path, write_case, stored) -> None:
    write_case(tmp_path, files={"seg": stored})
    np.testing.assert_array_equal(read(tmp_path).labels, labelled())


def test_labels_stored_with_a_scale_are_those_labels_and_a_shifted_mask_is_refused(tmp_path, write_case) -> None:
    path = write_case(tmp_path) / f"{CASE}_seg.nii.gz"
    affine = nib.load(path).affine
    values = labelled().transpose(2, 1, 0).astype("<i2")
    for slope, inter in ((1 / 85, 0.0), (0.1, 0.0), (0.25, 1.0), (1.0, -1024.0)):
        scaled(path, np.rint((values - inter) / slope).astype("<i2"), slope, inter, affine)
        np.testing.assert_array_equal(read(tmp_path).labels, labelled())
    scaled(path, values, 1.0, -1024.0, affine)
    assert "mask holds -1024, -1023, -1022; labels are 0, 1, 2, 4" in reason_of(tmp_path)


@pytest.mark.parametrize(
    ("stored", "digits"),
    [
        ((labelled() + np.roll(labelled(), 1, 2)) / 2, "2.5"),
        (labelled() * 0.998, "0.998, 1.996, 3.992"),
        (labelled() * np.float32(0.0001), "0.0001, 0.0002, 0.0004"),
        (labelled() * np.float32(0.001) + np.float32(0.002), "0.002, 0.003, 0.004"),
    ],
)
def test_interpolated_labels_are_refused_with_their_digits_and_what_helps(tmp_path, write_case, stored, digits) -> None:
    write_case(tmp_path, files={"seg": np.asarray(stored, np.float32)})
    reason = reason_of(tmp_path)
    assert f"mask holds {digits}, which is no label" in reason
    assert reason.endswith("resample masks with nearest neighbour")


@pytest.mark.parametrize("value", [1e12, -3.0, 5.0])
def test_whole_numbers_that_are_no_labels_are_refused(tmp_path, write_case, value: float) -> None:
    write_case(tmp_path, files={"seg": np.where(labelled() > 0, value, 0.0)})
    assert f"mask holds {value:g}" in reason_of(tmp_path)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (f"{CASE}_segm", "mask from files named *_segm"),
        (f"{CASE}_automated_approx_segm", "mask from files named *_automated_approx_segm"),
        (f"{CASE}_tumor_segmentation", "mask from files named *_tumor_segmentation"),
        ("W39_1998.09.19_seg", "mask under another name than its images, as the only one in their folder"),
    ],
)
def test_a_mask_under_a_public_sets_name_is_read_and_told(tmp_path, write_case, name: str, told: str) -> None:
    folder = write_case(tmp_path)
    (folder / f"{CASE}_seg.nii.gz").rename(folder / f"{name}.nii.gz")
    patient = read(tmp_path)
    np.testing.assert_array_equal(patient.labels, labelled())
    assert patient.remarks == (Remark("guess", told),)


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        (f"{CASE}_mask", "*_mask"),
        (f"{CASE}_label", "*_label"),
        (f"{CASE}-label", "*-label"),
        (f"{CASE}_tumorseg", "*_tumorseg"),
        (f"{CASE}_GlistrBoost", "*_GlistrBoost"),
        (f"{CASE}_Lesion_ROI", "*_Lesion_ROI"),
        ("GroundTruth", "GroundTruth"),
    ],
)
def test_what_may_be_the_mask_is_asked_about_and_read_once_it_is_listed(tmp_path, write_case, name, pattern) -> None:
    folder = write_case(tmp_path)
    (folder / f"{CASE}_seg.nii.gz").rename(folder / f"{name}.nii.gz")
    reason = reason_of(tmp_path)
    assert reason == (
        f"no tumour mask under a known name; beside the images lies {pattern}: if it is the mask, write "
        f"options.mask_names: ['{pattern}'], else mask_names: []"
    )
    patient = read(tmp_path, mask_names=(pattern,))
    np.testing.assert_array_equal(patient.labels, labelled())
    assert patient.remarks == ()
    assert read(tmp_path, mask_names=()).labels is None


def test_an_outline_of_the_brain_is_never_taken_for_the_tumour(tmp_path, write_case) -> None:
    folder = write_case(tmp_path)
    for name in ("brain_parenchyma_segmentation", "brain_seg", "brain_mask"):
        (folder / f"{CASE}_seg.nii.gz").rename(folder / f"{CASE}_{name}.nii.gz")
        patient = read(tmp_path)
        assert patient.labels is None
        (location,) = BratsReader().find(tmp_path)
        assert [path.name for path in location.files] == [f"{CASE}_flair.nii.gz"]
        (folder / f"{CASE}_{name}.nii.gz").rename(folder / f"{CASE}_seg.nii.gz")


def test_in_a_folder_of_many_cases_only_the_own_files_of_one_are_asked_about(tmp_path, write_case) -> None:
    for case in ("a", "b"):
        for path in write_case(tmp_path / "apart", case).iterdir():
            path.rename(tmp_path / path.name)
    (tmp_path / "a_seg.nii.gz").rename(tmp_path / "a_mask.nii.gz")
    reader = BratsReader()
    a, b = (one for one in reader.find(tmp_path) if one.patient in "ab")
    with pytest.raises(BadStudyError, match=r"lies \*_mask:"):
        reader.read(a)
    assert reader.read(b).has_tumour


def test_a_missing_contrast_is_told_with_what_there_is(tmp_path, write_case) -> None:
    folder = write_case(tmp_path)
    (folder / f"{CASE}_flair.nii.gz").rename(folder / f"{CASE}_t1.nii.gz")
    (folder / f"{CASE}_perfusion.nii.gz").write_bytes(b"")
    there = f"seg, t1, {CASE}_perfusion.nii.gz"
    assert reason_of(tmp_path) == f"contrast flair is missing; there are {there}"


def test_a_contrast_from_a_file_of_a_second_choice_is_told(tmp_path, write_case) -> None:
    folder = write_case(tmp_path, "UCSF-PDGM-0004")
    (folder / "UCSF-PDGM-0004_flair.nii.gz").rename(folder / "UCSF-PDGM-0004_FLAIR_bias.nii.gz")
    assert read(tmp_path).remarks == (Remark("guess", "flair from files named *_flair_bias"),)


def test_a_case_of_bids_is_read_with_its_contrast_enhanced_image(tmp_path, write_case) -> None:
    names = {"t1": "T1w", "t1ce": "ce-gd_T1w", "flair": "FLAIR", "seg": "label-tumor_mask"}
    plain = write_case(tmp_path / "plain", "x", contrasts=("t1", "t1ce", "flair"))
    folder = tmp_path / "bids" / "sub-01" / "ses-1" / "anat"
    folder.mkdir(parents=True)
    for role, name in names.items():
        (plain / f"x_{role}.nii.gz").rename(folder / f"sub-01_ses-1_{name}.nii.gz")
    with pytest.raises(BadStudyError, match=r"holds 4.*options\.label_4"):
        read(tmp_path / "bids", contrasts=("t1ce",))
    patient = read(tmp_path / "bids", contrasts=("t1", "t1ce", "flair"), label_4="enhancing")
    assert patient.patient == "sub-01"
    np.testing.assert_array_equal(patient.labels, labelled())
    assert len({channel.tobytes() for channel in patient.images}) == 3


def test_a_cavity_is_no_tumour_and_is_told(tmp_path, write_case) -> None:
    case = "BraTS-GLI-00001-100"
    write_case(tmp_path, case, {"t2f": labelled().astype(np.int16)}, naming="{case}-{role}.nii.gz", contrasts=())
    patient = read(tmp_path, label_4="resection_cavity")
    assert patient.patient == "BraTS-GLI-00001"
    np.testing.assert_array_equal(patient.labels, np.where(labelled() == 4, 0, labelled()))
    assert patient.remarks == (Remark("value", "4 (resection cavity)"),)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label_4": "oedema"}, "label_4 is 'oedema'; write resection_cavity or enhancing"),
        ({"mask_names": "*_mask"}, "mask_names is a list"),
        ({"mask_names": (1,)}, "mask_names is a list"),
        ({"orientation": "left"}, "orientation is 'left'"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        BratsReader(**options)
