import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from common.errors import BadStudyError, ConfigError, DataError
from common.imaging.patient import Patient
from common.imaging.readers.nnunet import NnunetReader
from common.imaging.readers.registry import build_reader
from common.imaging.remarks import Question, Remark

SHAPE = (12, 40, 36)
AFFINE = np.array([[-0.8, 0, 0, 10], [0, -0.8, 0, 39], [0, 0, 3.0, -5], [0, 0, 0, 1]])
VERSION_1 = {"modality": {"0": "CT"}, "labels": {"0": "background", "1": "liver", "2": "cancer"}}
VERSION_2 = {
    "channel_names": {"0": "CT"},
    "labels": {"background": 0, "liver": 1, "cancer": 2},
    "numTraining": 3,
    "file_ending": ".nii.gz",
}
BRAIN = {
    "channel_names": {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"},
    "labels": {"background": 0, "edema": 1, "non-enhancing tumor": 2, "enhancing tumour": 3},
    "file_ending": ".nii.gz",
}


def ct(seed: int = 0) -> np.ndarray:
    """(Z, Y, X) HU: air around a liver of 100 HU."""
    values = np.full(SHAPE, -1000.0)
    values[:, 5:35, 5:30] = np.random.default_rng(seed).normal(100, 10, (SHAPE[0], 30, 25))
    return np.rint(values).astype(np.int16)


def outline(*, tumour: int | None = 2, organ: int | None = 1) -> np.ndarray:
    mask = np.zeros(SHAPE, np.uint8)
    if organ is not None:
        mask[2:10, 8:30, 8:26] = organ
    if tumour is not None:
        mask[4:8, 14:22, 12:20] = tumour
    return mask


def save(path: Path, values: np.ndarray, affine: np.ndarray = AFFINE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    axes = (2, 1, 0, *range(3, values.ndim))
    nib.save(nib.Nifti1Image(np.ascontiguousarray(values.transpose(axes)), affine), path)


def dataset(root: Path, description: Mapping[str, Any] | None = None, **masks: np.ndarray) -> Path:
    """A data set of nnU-Net with one CT and one mask for each of ``masks``."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "dataset.json").write_text(json.dumps(description or VERSION_2))
    for index, (case, mask) in enumerate((masks or {"case_001": outline()}).items()):
        save(root / "imagesTr" / f"{case}_0000.nii.gz", ct(index))
        save(root / "labelsTr" / f"{case}.nii.gz", mask)
    return root


def liver(**options: Any) -> NnunetReader:
    reader = build_reader("nnunet", organ="liver", contrasts=["ct"], options={"tumour_labels": ["cancer"], **options})
    assert isinstance(reader, NnunetReader)
    return reader


def brain(*contrasts: str, **options: Any) -> NnunetReader:
    reader = build_reader("nnunet", organ="brain", contrasts=contrasts, options={"tumour_labels": ["*"], **options})
    assert isinstance(reader, NnunetReader)
    return reader


def only(reader: NnunetReader, root: Path) -> Patient:
    (location,) = reader.find(root)
    return reader.read(location)


def reason_of(reader: NnunetReader, root: Path) -> str:
    with pytest.raises(BadStudyError) as caught:
        only(reader, root)
    return caught.value.reason


@pytest.mark.parametrize("description", [VERSION_1, VERSION_2], ids=["version 1", "version 2"])
def test_a_case_is_read_with_its_tumour_its_organ_and_its_spacing(tmp_path, description) -> None:
    patient = only(liver(), dataset(tmp_path, description))
    assert patient.patient == "case_001"
    assert patient.modality == "CT"
    assert patient.spacing == pytest.approx((3.0, 0.8, 0.8))
    np.testing.assert_array_equal(patient.images[0], ct())
    np.testing.assert_array_equal(patient.labels, outline() == 2)
    np.testing.assert_array_equal(patient.organ_mask, outline() > 0)
    assert patient.remarks == patient.questions == ()


def test_a_data_set_below_the_root_is_found_and_one_of_several_is_not_chosen(tmp_path) -> None:
    dataset(tmp_path / "Dataset003_Liver")
    assert only(liver(), tmp_path).has_tumour
    dataset(tmp_path / "Dataset004_Other")
    with pytest.raises(DataError, match=r"several data sets \(Dataset003_Liver, Dataset004_Other\)"):
        liver().find(tmp_path)


def test_channels_are_found_by_their_names_in_the_order_asked_for(tmp_path) -> None:
    root = dataset(tmp_path, BRAIN)
    for channel in range(4):
        save(root / "imagesTr" / f"case_001_{channel:04d}.nii.gz", ct(10 + channel))
    patient = only(brain("t1ce", "flair"), root)
    np.testing.assert_array_equal(patient.images[0], ct(12))
    np.testing.assert_array_equal(patient.images[1], ct(10))
    assert sorted(np.unique(patient.labels)) == [0, 1, 2]


def test_parts_of_a_brain_tumour_are_told_apart_by_name(tmp_path) -> None:
    mask = outline(organ=1, tumour=2)
    mask[5, 16, 14] = 3
    root = dataset(tmp_path, {**BRAIN, "channel_names": {"0": "FLAIR"}}, case_001=mask)
    labels = only(brain("flair"), root).labels
    for value, label in {0: 0, 1: 2, 2: 1, 3: 4}.items():
        np.testing.assert_array_equal(labels == label, mask == value)


def test_odd_channel_names_are_told_by_an_option_as_a_table_or_a_list(tmp_path) -> None:
    root = dataset(tmp_path, {**BRAIN, "channel_names": {"0": "MRI", "1": "noNorm"}})
    save(root / "imagesTr" / "case_001_0001.nii.gz", ct(5))
    with pytest.raises(ConfigError, match=r"channel is t1 cannot be told: .*0: MRI, 1: noNorm.*channels: {t1: 0}"):
        brain("t1").find(root)
    for channels in ({"t1": 1}, ["flair", "t1"], [None, "t1"]):
        np.testing.assert_array_equal(only(brain("t1", channels=channels), root).images[0], ct(5))
    with pytest.raises(ConfigError, match="cannot be told"):
        brain("t1", channels={"t1": 7}).find(root)


def test_the_decathlons_volumes_of_several_channels_are_read_and_what_macos_adds_is_not(tmp_path) -> None:
    description = {
        "modality": {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"},
        "labels": {"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"},
        "tensorImageSize": "4D",
    }
    (tmp_path / "dataset.json").write_text(json.dumps(description))
    channels = np.stack([ct(seed) for seed in range(4)], axis=-1)
    save(tmp_path / "imagesTr" / "BRATS_001.nii.gz", channels)
    save(tmp_path / "labelsTr" / "BRATS_001.nii.gz", outline())
    (tmp_path / "imagesTr" / "._BRATS_001.nii.gz").write_bytes(b"resource fork")
    (tmp_path / "labelsTr" / "._BRATS_001.nii.gz").write_bytes(b"resource fork")
    patient = only(brain("t1ce", "t2"), tmp_path)
    assert patient.patient == "BRATS_001"
    np.testing.assert_array_equal(patient.images[0], ct(2))
    np.testing.assert_array_equal(patient.images[1], ct(3))
    save(tmp_path / "imagesTr" / "BRATS_001.nii.gz", channels[..., :3])
    assert reason_of(brain("t1ce"), tmp_path) == "BRATS_001.nii.gz: holds 3 channels, dataset.json names 4"
    save(tmp_path / "imagesTr" / "BRATS_001.nii.gz", channels[..., 0])
    assert reason_of(brain("t1ce"), tmp_path) == "BRATS_001.nii.gz: holds 1 channels, dataset.json names 4"


def test_the_decathlons_volumes_of_one_channel_are_read_also_if_a_case_ends_in_four_digits(tmp_path) -> None:
    (tmp_path / "dataset.json").write_text(json.dumps(VERSION_1))
    save(tmp_path / "imagesTr" / "liver_0012.nii.gz", ct())
    save(tmp_path / "labelsTr" / "liver_0012.nii.gz", outline())
    assert only(liver(), tmp_path).patient == "liver_0012"


def test_visits_of_one_patient_are_one_patient(tmp_path) -> None:
    root = dataset(tmp_path, **{"UPENN-GBM-00001_11": outline(), "UPENN-GBM-00001_21": outline()})
    assert [location.patient for location in liver().find(root)] == ["UPENN-GBM-00001"] * 2


def test_regions_are_lists_of_values_and_a_value_is_a_tumour_if_one_of_its_regions_is(tmp_path) -> None:
    regions = {"background": 0, "kidney": [1, 2, 3], "masses": [2, 3], "tumor": 2}
    mask = outline(organ=1, tumour=2)
    mask[9, 25, 20:24] = 3
    root = dataset(tmp_path, {**VERSION_2, "labels": regions, "regions_class_order": [1, 3, 2]}, case_001=mask)
    patient = only(liver(tumour_labels=["tumor"], organ_labels=["kidney"], other_labels=["masses"]), root)
    np.testing.assert_array_equal(patient.labels, mask == 2)
    np.testing.assert_array_equal(patient.organ_mask, mask > 0)
    assert patient.remarks == (Remark("value", "masses"),)


def test_labels_are_listed_by_name_pattern_or_number(tmp_path) -> None:
    root = dataset(tmp_path)
    for names in (["cancer"], ["CANCER"], ["can*"], [2], ["2"]):
        np.testing.assert_array_equal(only(liver(tumour_labels=names), root).labels, outline() == 2)


def test_no_tumour_label_is_guessed_and_a_wrong_name_is_refused_with_those_that_there_are(tmp_path) -> None:
    root = dataset(tmp_path)
    for options, what in (
        ({"tumour_labels": []}, r"options\.tumour_labels .*names liver, cancer"),
        ({"tumour_labels": ["tumor"]}, r"tumour_labels: 'tumor' is no label .*names liver, cancer"),
        ({"other_labels": ["vessel*"]}, r"other_labels: 'vessel\*' is no label"),
        ({"organ_labels": ["background"]}, r"organ_labels: 'background' is no label"),
        ({"other_labels": ["Cancer"]}, "cancer stands in tumour_labels and in another list"),
    ):
        with pytest.raises(ConfigError, match=what):
            liver(**options).find(root)


def test_a_value_that_no_option_lists_is_told_beside_a_tumour_and_asked_about_without_one(tmp_path) -> None:
    labels = {**VERSION_2["labels"], "hepatic vessel": 3}
    beside, alone, odd = outline(), outline(tumour=3), outline(tumour=7)
    beside[9, 25, 20:24] = 3
    root = dataset(tmp_path, {**VERSION_2, "labels": labels}, a=beside, b=alone, c=odd)
    reader = liver()
    a, b, c = (reader.read(location) for location in reader.find(root))
    assert a.has_tumour
    assert a.remarks == (Remark("value", "hepatic vessel"),)
    assert a.questions == ()
    assert b.questions == (Question("hepatic vessel", ("tumour_labels", "other_labels")),)
    assert c.questions == (Question("7", ("tumour_labels", "other_labels")),)
    answered = liver(other_labels=["hepatic vessel"], tumour_labels=["cancer", "7"])
    a, b, c = (answered.read(location) for location in answered.find(root))
    assert a.questions == b.questions == c.questions == ()
    assert [one.has_tumour for one in (a, b, c)] == [True, False, True]
    assert b.remarks == (Remark("value", "hepatic vessel"),)


def test_a_mask_with_the_organ_alone_is_tumour_free_and_one_with_nothing_is_refused(tmp_path) -> None:
    root = dataset(tmp_path, case_001=outline(tumour=None))
    patient = only(liver(), root)
    assert not patient.has_tumour
    assert patient.organ_mask is not None
    assert patient.organ_mask.any()
    assert reason_of(liver(tumour_free="quarantine"), root) == "case_001.nii.gz: mask holds no tumour"
    save(root / "labelsTr" / "case_001.nii.gz", outline(tumour=None, organ=None))
    assert reason_of(liver(), root) == "case_001.nii.gz: mask holds neither a tumour nor the liver"


def test_a_data_set_without_a_label_of_the_organ_has_no_organ_mask(tmp_path) -> None:
    root = dataset(
        tmp_path, {**VERSION_2, "labels": {"background": 0, "cancer": 1}}, case_001=outline(organ=1, tumour=0)
    )
    patient = only(liver(), root)
    assert patient.organ_mask is None
    assert patient.has_tumour


def test_a_label_of_dataset_json_that_no_case_holds_changes_nothing(tmp_path) -> None:
    root = dataset(tmp_path, {**VERSION_2, "labels": {**VERSION_2["labels"], "vein": 9}})
    assert only(liver(), root).remarks == ()


def test_ct_is_clipped_at_air_and_values_that_are_hardly_hounsfield_units_are_told(tmp_path) -> None:
    root = dataset(tmp_path)
    padded = ct()
    padded[:, :2] = -3024
    save(root / "imagesTr" / "case_001_0000.nii.gz", padded)
    patient = only(liver(), root)
    assert patient.images.min() == -1024
    assert patient.remarks == ()
    save(root / "imagesTr" / "case_001_0000.nii.gz", ct() + 1024)
    assert [remark.kind for remark in only(liver(), root).remarks] == ["guess"]


def test_test_images_without_masks_belong_to_no_study(tmp_path) -> None:
    root = dataset(tmp_path)
    save(root / "imagesTs" / "case_900_0000.nii.gz", ct())
    (location,) = liver().find(root)
    assert {path.name for path in location.files} == {"dataset.json", "case_001_0000.nii.gz", "case_001.nii.gz"}


def test_a_case_without_a_mask_an_image_or_a_channel_is_refused_with_what_is_missing(tmp_path) -> None:
    root = dataset(tmp_path, {**BRAIN, "channel_names": {"0": "FLAIR", "1": "T1w"}})
    reader = brain("flair", "t1")
    reason = "channel 1 (T1w) is missing: looked for imagesTr/case_001_0001 with .nii.gz or .nii"
    assert reason_of(reader, root) == reason
    (root / "labelsTr" / "case_001.nii.gz").unlink()
    assert reason_of(reader, root) == "labelsTr holds no mask of it"
    save(root / "labelsTr" / "case_001.nii.gz", outline())
    (root / "imagesTr" / "case_001_0000.nii.gz").rename(root / "imagesTr" / "other_0000.nii.gz")
    (masked, imaged) = reader.find(root)
    assert (masked.patient, imaged.patient) == ("case_001", "other")
    with pytest.raises(BadStudyError, match="imagesTr holds no image of it"):
        reader.read(masked)


def test_a_mask_on_another_grid_is_refused_and_one_that_states_none_takes_that_of_its_image(tmp_path) -> None:
    root = dataset(tmp_path)
    mask = root / "labelsTr" / "case_001.nii.gz"
    moved = AFFINE.copy()
    moved[2, 3] += 9
    save(mask, outline(), moved)
    assert "lies elsewhere in space" in reason_of(liver(), root)
    save(mask, outline()[:11])
    assert "has 36x40x11 voxels" in reason_of(liver(), root)
    save(mask, outline(), np.eye(4))
    patient = only(liver(), root)
    np.testing.assert_array_equal(patient.labels, outline() == 2)
    assert patient.remarks == (
        Remark("guess", "the header of one file states no orientation, taken that of another file of its case"),
    )


def test_interpolated_masks_are_refused_and_rounding_is_not(tmp_path) -> None:
    root = dataset(tmp_path)
    save(root / "labelsTr" / "case_001.nii.gz", outline() * np.float64(0.9999999))
    np.testing.assert_array_equal(only(liver(), root).labels, outline() == 2)
    save(root / "labelsTr" / "case_001.nii.gz", outline() * 0.75)
    assert "mask holds 0.75, 1.5, which is no label" in reason_of(liver(), root)


def test_files_are_read_by_what_they_are_and_not_by_their_suffix(tmp_path) -> None:
    root = dataset(tmp_path)
    image = root / "imagesTr" / "case_001_0000.nii.gz"
    image.write_bytes(gzip.decompress(image.read_bytes()))
    mask = root / "labelsTr" / "case_001.nii.gz"
    mask.rename(mask.with_suffix(""))
    assert only(liver(), root).has_tumour


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tumour_labels": "cancer"}, r"tumour_labels is a list"),
        ({"other_labels": [True]}, r"other_labels is a list"),
        ({"channels": {"pet": 0}}, "channels has 'pet'"),
        ({"channels": {"ct": -1}}, "channels has 'ct': -1"),
        ({"channels": "ct"}, "channels is a table"),
        ({"tumour_free": "maybe"}, "allow or quarantine"),
        ({"orientation": "RLS"}, "orientation is 'RLS'"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        liver(**options)


def test_an_organ_or_contrast_that_is_not_known_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown organ"):
        NnunetReader(organ="heart", contrasts=("ct",))
    with pytest.raises(ConfigError, match="contrasts are"):
        NnunetReader(organ="liver", contrasts=("pet",))
