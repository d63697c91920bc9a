from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from common.errors import BadStudyError, ConfigError, DataError
from common.imaging.patient import StudyLocation
from common.imaging.readers.brats import BratsReader

FLAIR = BratsReader(contrasts=("flair",))


def volume(value: float = 1.0, shape: tuple[int, int, int] = (12, 40, 36)) -> np.ndarray:
    values = np.full(shape, value, np.float32)
    values[:, 10:30, 10:26] = 200
    return values


def reason_of(reader: BratsReader, root: Path) -> str:
    (location,) = reader.find(root)
    with pytest.raises(BadStudyError) as caught:
        reader.read(location)
    return caught.value.reason


def test_a_2021_case_is_read_with_its_contrasts_in_the_order_asked_for(tmp_path, write_case) -> None:
    write_case(tmp_path, contrasts=("t1", "t1ce", "t2", "flair"))
    reader = BratsReader(contrasts=("flair", "t1"))
    (location,) = reader.find(tmp_path)
    patient = reader.read(location)
    assert patient.patient == location.patient == "BraTS2021_00001"
    assert patient.contrasts == ("flair", "t1")
    assert patient.images.shape == (2, 12, 40, 36)
    assert patient.images.dtype == np.float32
    assert not np.array_equal(patient.images[0], patient.images[1])
    assert patient.modality == "MR"
    assert patient.has_tumour
    assert sorted(np.unique(patient.labels)) == [0, 1, 2, 4]


def test_a_2023_case_has_its_label_3_mapped_to_4_and_its_time_point_taken_from_the_name(tmp_path, write_case) -> None:
    labels = np.zeros((12, 40, 36), np.uint8)
    labels[4:8, 14:22, 12:20] = 3
    labels[5, 15, 13] = 1
    for case in ("BraTS-GLI-00012-000", "BraTS-GLI-00012-001"):
        files = {"t2f": volume(0), "t1c": volume(0), "seg": labels}
        write_case(tmp_path, case, files, naming="{case}-{role}.nii.gz", contrasts=())
    reader = BratsReader(contrasts=("t1ce", "flair"))
    first, second = reader.find(tmp_path)
    assert first.patient == second.patient == "BraTS-GLI-00012"
    assert first.files != second.files
    found = reader.read(first).labels
    assert found is not None
    np.testing.assert_array_equal(found == 4, labels == 3)
    np.testing.assert_array_equal(found == 1, labels == 1)


def test_label_4_in_2023_naming_is_refused_because_it_means_a_cavity_there(tmp_path, write_case) -> None:
    write_case(tmp_path, "BraTS-GLI-00001-000", {"t2f": volume(0)}, naming="{case}-{role}.nii.gz", contrasts=())
    reason = reason_of(FLAIR, tmp_path)
    assert reason.startswith("BraTS-GLI-00001-000-seg.nii.gz: mask holds 4, which is a resection cavity")
    assert reason.endswith("options.label_4: resection_cavity, or enhancing")


def test_uncompressed_files_are_read(tmp_path, write_case) -> None:
    write_case(tmp_path, naming="{case}_{role}.nii")
    assert FLAIR.read(FLAIR.find(tmp_path)[0]).images.shape == (1, 12, 40, 36)


@pytest.mark.parametrize("codes", ["RAS", "LPS", "LAS", "PIR", "SLA", "IRP"])
def test_every_stored_orientation_comes_out_as_lps(tmp_path, codes: str) -> None:
    from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, ornt_transform

    rng = np.random.default_rng(3)
    lps = rng.integers(1, 900, (40, 36, 20)).astype(np.int16)
    affine = np.diag([-1.5, -1.5, 4.0, 1.0])
    turn = ornt_transform(axcodes2ornt(("L", "P", "S")), axcodes2ornt(tuple(codes)))
    case = tmp_path / "case"
    case.mkdir()
    stored = nib.Nifti1Image(apply_orientation(lps, turn), affine @ inv_ornt_aff(turn, lps.shape))
    assert "".join(nib.aff2axcodes(stored.affine)) == codes
    nib.save(stored, case / "case_flair.nii.gz")
    patient = FLAIR.read(FLAIR.find(tmp_path)[0])
    np.testing.assert_array_equal(patient.images[0], lps.transpose(2, 1, 0))
    assert patient.spacing == pytest.approx((4.0, 1.5, 1.5))


def test_a_mask_stored_in_another_orientation_of_the_same_grid_is_accepted(tmp_path, write_case) -> None:
    folder = write_case(tmp_path)
    path = folder / "BraTS2021_00001_seg.nii.gz"
    before = FLAIR.read(FLAIR.find(tmp_path)[0]).labels
    nib.save(nib.as_closest_canonical(nib.load(path)), path)
    assert nib.aff2axcodes(nib.load(path).affine) == ("R", "A", "S")
    np.testing.assert_array_equal(FLAIR.read(FLAIR.find(tmp_path)[0]).labels, before)


def test_values_stay_as_stored_negative_background_included(tmp_path, write_case) -> None:
    values = volume(0)
    values[0, 0, 0] = -54
    write_case(tmp_path, files={"flair": values})
    assert FLAIR.read(FLAIR.find(tmp_path)[0]).images.min() == -54


def test_a_case_without_a_mask_has_no_labels(tmp_path, write_case) -> None:
    write_case(tmp_path, files={"seg": None})
    patient = FLAIR.read(FLAIR.find(tmp_path)[0])
    assert patient.labels is None
    assert not patient.has_tumour


def test_an_all_zero_mask_is_a_patient_without_a_tumour_unless_every_patient_should_have_one(
    tmp_path, write_case
) -> None:
    write_case(tmp_path, files={"seg": np.zeros((12, 40, 36), np.uint8)})
    assert not FLAIR.read(FLAIR.find(tmp_path)[0]).has_tumour
    strict = BratsReader(contrasts=("flair",), tumour_free="quarantine")
    assert reason_of(strict, tmp_path) == "BraTS2021_00001_seg.nii.gz: mask is empty"


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"flair": None}, "contrast flair is missing"),
        ({"flair": np.zeros((12, 40, 36), np.int16)}, "is empty"),
        ({"flair": np.where(volume() > 1, np.nan, 0).astype(np.float32)}, "NaN or infinite"),
        ({"flair": np.where(volume() > 1, np.inf, 0).astype(np.float32)}, "NaN or infinite"),
        ({"flair": volume(shape=(12, 40, 12))}, "too small"),
        (
            {"seg": np.zeros((11, 40, 36), np.uint8)},
            "seg.nii.gz: has 36x40x11 voxels, BraTS2021_00001_flair.nii.gz has",
        ),
        ({"seg": np.full((12, 40, 36), 3, np.uint8)}, "mask holds 3; labels are 0, 1, 2, 4"),
        ({"seg": np.full((12, 40, 36), 0.5, np.float32)}, "mask holds 0.5"),
        ({"seg": np.full((12, 40, 36), np.nan, np.float32)}, "NaN or infinite"),
        ({"seg": np.full((12, 40, 36), -1, np.int16)}, "mask holds -1"),
    ],
)
def test_a_bad_case_is_refused_with_its_reason(tmp_path, write_case, files, reason: str) -> None:
    write_case(tmp_path, files=files)
    assert reason in reason_of(FLAIR, tmp_path)


def test_contrasts_of_different_shape_are_refused(tmp_path, write_case) -> None:
    write_case(tmp_path, files={"t1": volume(shape=(12, 40, 40))})
    assert "t1.nii.gz: has 40x40x12 voxels" in reason_of(BratsReader(contrasts=("flair", "t1")), tmp_path)


def test_a_mask_that_lies_elsewhere_is_refused(tmp_path, write_case) -> None:
    folder = write_case(tmp_path)
    path = folder / "BraTS2021_00001_seg.nii.gz"
    mask = nib.load(path)
    shifted = mask.affine.copy()
    shifted[2, 3] += 5
    nib.save(nib.Nifti1Image(np.asarray(mask.dataobj), shifted), path)
    assert "lies elsewhere in space" in reason_of(FLAIR, tmp_path)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii"])
@pytest.mark.parametrize("damage", ["truncated", "empty", "overwritten"])
def test_a_damaged_file_is_refused_by_name_only(tmp_path, write_case, damage: str, suffix: str) -> None:
    folder = write_case(tmp_path, naming="{case}_{role}" + suffix)
    path = folder / f"BraTS2021_00001_flair{suffix}"
    content = path.read_bytes()
    path.write_bytes({"truncated": content[: len(content) // 2], "empty": b"", "overwritten": b"x" * 999}[damage])
    reason = reason_of(FLAIR, tmp_path)
    assert reason == f"BraTS2021_00001_flair{suffix}: cannot be read, the file is damaged or incomplete"


def test_a_volume_of_one_time_point_is_read_and_one_of_several_refused(tmp_path) -> None:
    for times in (1, 2):
        case = tmp_path / f"t{times}" / "case"
        case.mkdir(parents=True)
        values = np.random.default_rng(0).normal(size=(20, 20, 6, times)).astype(np.float32)
        nib.save(nib.Nifti1Image(values, np.eye(4)), case / "case_flair.nii.gz")
    assert FLAIR.read(FLAIR.find(tmp_path / "t1")[0]).images.shape == (1, 6, 20, 20)
    assert "has 4 dimensions" in reason_of(FLAIR, tmp_path / "t2")


def test_a_header_without_orientation_is_refused(tmp_path, write_case) -> None:
    folder = write_case(tmp_path, files={"seg": None}, naming="{case}_{role}.nii")
    path = folder / "BraTS2021_00001_flair.nii"
    content = bytearray(path.read_bytes())
    rows_of_the_affine = slice(280, 328)
    content[rows_of_the_affine] = bytes(48)
    path.write_bytes(content)
    assert "no usable orientation" in reason_of(FLAIR, tmp_path)


def test_colour_voxels_are_refused(tmp_path) -> None:
    (tmp_path / "case").mkdir()
    colour = np.zeros((20, 20, 6), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(colour, np.eye(4)), tmp_path / "case" / "case_flair.nii.gz")
    assert "no plain numbers" in reason_of(FLAIR, tmp_path)


def test_scaled_integers_are_read_in_their_units(tmp_path) -> None:
    (tmp_path / "case").mkdir()
    values = np.random.default_rng(0).integers(0, 400, (20, 20, 6)).astype(np.int16)
    image = nib.Nifti1Image(values, np.diag([-1.0, -1, 1, 1]))
    image.header.set_slope_inter(0.5, 10)
    nib.save(image, tmp_path / "case" / "case_flair.nii.gz")
    read = FLAIR.read(FLAIR.find(tmp_path)[0]).images[0]
    np.testing.assert_allclose(read, nib.load(tmp_path / "case" / "case_flair.nii.gz").get_fdata().transpose(2, 1, 0))


def test_two_files_for_one_contrast_are_refused(tmp_path, write_case) -> None:
    folder = write_case(tmp_path)
    original = folder / "BraTS2021_00001_flair.nii.gz"
    (folder / "BraTS2021_00001_t2f.nii.gz").write_bytes(original.read_bytes())
    assert "are both flair" in reason_of(FLAIR, tmp_path)


def test_cases_are_found_above_in_and_below_the_root_sorted_and_without_hidden_files(tmp_path, write_case) -> None:
    cases = tmp_path / "TrainingData"
    for name in ("b", "a"):
        write_case(cases, name)
    (cases / "a" / "._a_flair.nii.gz").write_bytes(b"resource fork")
    (cases / ".trash").mkdir()
    (cases / "readme.txt").write_text("hello")
    for root in (tmp_path, cases):
        assert [location.patient for location in FLAIR.find(root)] == ["a", "b"]
    (only,) = FLAIR.find(cases / "a")
    assert only.patient == "a"
    assert all(not path.name.startswith(".") for path in only.files)


def test_a_location_without_a_list_of_files_is_read_from_its_folder(tmp_path, write_case) -> None:
    folder = write_case(tmp_path)
    assert FLAIR.read(StudyLocation("x", folder)).patient == "x"


def test_a_missing_root_a_file_and_a_folder_without_cases_are_told_apart(tmp_path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        FLAIR.find(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="is not a folder"):
        FLAIR.find(tmp_path / "file")
    with pytest.raises(DataError, match=r"no BraTS case in .*flair\.nii\.gz"):
        FLAIR.find(tmp_path)
    (tmp_path / "dataset.json").write_text("{}")
    with pytest.raises(DataError, match="reader: nnunet"):
        FLAIR.find(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"organ": "lung"}, "brain"),
        ({"contrasts": ("ct",)}, "t1, t1ce, t2, flair"),
        ({"contrasts": ()}, "no contrast"),
        ({"tumour_free": "maybe"}, "allow or quarantine"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        BratsReader(**options)


def test_the_real_patients_are_read(real_brats) -> None:
    reader = BratsReader(contrasts=("t1", "t1ce", "t2", "flair"))
    labels = {}
    for location in reader.find(real_brats):
        patient = reader.read(location)
        assert patient.images.shape == (4, 155, 240, 240)
        assert patient.spacing == (1.0, 1.0, 1.0)
        labels[patient.patient] = sorted(np.unique(patient.labels))
    assert labels == {"TCGA-DU-7294": [0, 1, 2], "TCGA-FG-6692": [0, 1, 2, 4]}
