from pathlib import Path

import pytest

from common.errors import BadStudyError
from common.imaging.readers.case_files import beside, by_role, find_cases, named


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / f"{name}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def found(root: Path, mask_names: tuple[str, ...] | None = None) -> dict[str, list[str]]:
    cases = find_cases(root, mask_names)
    return {case.name: sorted(path.name.removesuffix(".nii.gz") for path in case.files) for case in cases}


@pytest.mark.parametrize(
    ("name", "case", "role"),
    [
        ("BraTS2021_00001_t1ce", "BraTS2021_00001", "t1ce"),
        ("BraTS-GLI-00001-000-t2f", "BraTS-GLI-00001-000", "flair"),
        ("UPENN-GBM-00001_11_T1GD", "UPENN-GBM-00001_11", "t1ce"),
        ("UPENN-GBM-00001_11_T2", "UPENN-GBM-00001_11", "t2"),
        ("UPENN-GBM-00001_11_segm", "UPENN-GBM-00001_11", "seg"),
        ("UPENN-GBM-00001_11_automated_approx_segm", "UPENN-GBM-00001_11", "seg"),
        ("UCSF-PDGM-0004_T1c_bias", "UCSF-PDGM-0004", "t1ce"),
        ("UCSF-PDGM-0004_tumor_segmentation", "UCSF-PDGM-0004", "seg"),
        ("PatientID_0003_Timepoint_1_brain_t1n", "PatientID_0003_Timepoint_1", "t1"),
        ("PatientID_0003_Timepoint_1_tumorMask", "PatientID_0003_Timepoint_1", "seg"),
        ("BraTS-MEN-RT-0003-1_gtv", "BraTS-MEN-RT-0003-1", "seg"),
        ("TCGA-02-0006_1996.08.23_GlistrBoost", "TCGA-02-0006_1996.08.23", "seg"),
        ("TCGA-02-0006_1996.08.23_GlistrBoost_ManuallyCorrected", "TCGA-02-0006_1996.08.23", "seg"),
        ("sub-01_ses-1_FLAIR", "sub-01_ses-1", "flair"),
        ("sub-01_ses-1_T1w", "sub-01_ses-1", "t1"),
        ("sub-01_ses-1_ce-gd_T1w", "sub-01_ses-1", "t1ce"),
        ("sub-01_acq-3D_run-1_T2w", "sub-01", "t2"),
        ("sub-01_space-T1w_label-tumor_mask", "sub-01", "seg"),
        ("patient_T2_FLAIR", "patient", "flair"),
        ("P01_T1_flair", "P01_T1", "flair"),
    ],
)
def test_contrasts_and_masks_are_known_by_the_names_of_public_sets(name: str, case: str, role: str) -> None:
    one = named(Path(f"{name}.nii.gz"))
    assert one is not None
    assert (one.case, one.role) == (case, role)


@pytest.mark.parametrize(
    "name",
    [
        "UPENN-GBM-00001_11_T1GD_unstripped",
        "UCSF-PDGM-0004_brain_parenchyma_segmentation",
        "UCSF-PDGM-0004_brain_segmentation",
        "UCSF-PDGM-0004_ADC",
        "UCSF-PDGM-0004_SWI_bias",
        "100001_time1_t1ce-t1",
        "case_mask",
        "case_label",
        "case_tumorseg",
        "case_GlistrBoost",
        "sub-01_desc-brain_mask",
        "sub-01_dseg",
        "sub-01_ce-gd_FLAIR",
        "case_flair_brain",
        "_flair",
        "flair",
    ],
)
def test_what_a_name_does_not_tell_is_not_taken_for_anything(name: str) -> None:
    assert named(Path(f"{name}.nii.gz")) is None


def test_of_several_files_the_one_of_the_usual_name_is_read_and_the_others_belong_to_no_study(tmp_path) -> None:
    touch(tmp_path, "UCSF-PDGM-0004_T1c", "UCSF-PDGM-0004_T1c_bias", "UCSF-PDGM-0004_FLAIR_bias")
    touch(tmp_path, "UCSF-PDGM-0004_tumor_segmentation")
    kept = ["UCSF-PDGM-0004_FLAIR_bias", "UCSF-PDGM-0004_T1c", "UCSF-PDGM-0004_tumor_segmentation"]
    assert found(tmp_path) == {"UCSF-PDGM-0004": kept}


def test_masks_in_a_folder_of_their_own_come_to_their_images_and_looked_through_ones_before_others(tmp_path) -> None:
    images = touch(tmp_path / "images" / "UPENN-GBM-00001_11", "UPENN-GBM-00001_11_FLAIR")
    touch(tmp_path / "automated_segm", "UPENN-GBM-00001_11_automated_approx_segm")
    touch(tmp_path / "automated_segm", "UPENN-GBM-00002_11_automated_approx_segm")
    touch(tmp_path / "images_segm", "UPENN-GBM-00001_11_segm")
    assert [case.folder for case in find_cases(tmp_path)] == [images, tmp_path / "automated_segm"]
    assert found(tmp_path) == {
        "UPENN-GBM-00001_11": ["UPENN-GBM-00001_11_FLAIR", "UPENN-GBM-00001_11_segm"],
        "UPENN-GBM-00002_11": ["UPENN-GBM-00002_11_automated_approx_segm"],
    }


def test_a_mask_apart_from_two_sets_of_images_of_its_name_comes_to_neither(tmp_path) -> None:
    touch(tmp_path / "first", "a_flair")
    touch(tmp_path / "second", "a_flair")
    touch(tmp_path / "masks", "a_seg")
    assert [len(case.files) for case in find_cases(tmp_path)] == [1, 1, 1]


def test_a_known_mask_under_another_name_belongs_to_the_only_case_of_its_folder(tmp_path) -> None:
    touch(tmp_path, "BraTS20_Training_355_flair", "W39_1998.09.19_Segm")
    assert found(tmp_path) == {"BraTS20_Training_355": ["BraTS20_Training_355_flair", "W39_1998.09.19_Segm"]}
    touch(tmp_path, "BraTS20_Training_356_flair")
    assert found(tmp_path)["BraTS20_Training_355"] == ["BraTS20_Training_355_flair"]
    assert found(tmp_path)["W39_1998.09.19"] == ["W39_1998.09.19_Segm"]


def test_one_of_two_masks_of_other_names_is_not_chosen(tmp_path) -> None:
    touch(tmp_path, "a_flair", "W39_1998.09.19_Segm", "W40_1998.09.19_Segm")
    assert found(tmp_path)["a"] == ["a_flair"]
    files = [tmp_path / "a_flair.nii.gz"]
    assert [path.name[:3] for path in beside(tmp_path, files)] == ["W39", "W40"]


def test_a_case_whose_name_begins_like_anothers_is_not_that_one(tmp_path) -> None:
    touch(tmp_path, "a1_flair", "a2_flair", "a10_mask", "a11_seg")
    assert found(tmp_path) == {"a1": ["a1_flair"], "a2": ["a2_flair"], "a11": ["a11_seg"]}
    assert found(tmp_path, ("*_mask",))["a1"] == ["a1_flair"]
    assert beside(tmp_path, [tmp_path / "a1_flair.nii.gz"]) == []


def test_two_listed_masks_of_one_case_are_both_told(tmp_path) -> None:
    touch(tmp_path, "a_flair", "a_v1_mask", "a_v2_mask")
    assert found(tmp_path, ("*_mask",)) == {"a": ["a_flair", "a_v1_mask", "a_v2_mask"]}


def test_an_outline_of_the_brain_is_no_mask_of_a_tumour(tmp_path) -> None:
    touch(tmp_path, "case_7_flair", "case_7_brain_seg")
    assert found(tmp_path) == {"case_7": ["case_7_flair"]}


def test_listed_names_come_before_known_ones_whatever_case_they_name(tmp_path) -> None:
    touch(tmp_path / "a", "a_flair", "a_seg", "a_final_mask")
    touch(tmp_path / "b", "b_flair", "truth")
    touch(tmp_path / "c", "c1_flair", "c1_final_mask", "c2_flair", "c2_final_mask")
    touch(tmp_path / "d", "sub-01_ses-1_T1w", "sub-01_ses-1_run-2_mask")
    for same in ("*_mask", "_mask", "*_mask.nii.gz"):
        assert found(tmp_path, (same, "truth")) == found(tmp_path, ("*_mask", "truth"))
    assert found(tmp_path, ("*_mask", "TRUTH")) == {
        "a": ["a_final_mask", "a_flair"],
        "b": ["b_flair", "truth"],
        "c1": ["c1_final_mask", "c1_flair"],
        "c2": ["c2_final_mask", "c2_flair"],
        "sub-01_ses-1": ["sub-01_ses-1_T1w", "sub-01_ses-1_run-2_mask"],
    }


def test_files_of_bids_are_found_in_sessions_and_derivatives(tmp_path) -> None:
    touch(tmp_path / "sub-01" / "ses-1" / "anat", "sub-01_ses-1_T1w", "sub-01_ses-1_ce-gd_T1w")
    touch(tmp_path / "derivatives" / "seg" / "sub-01" / "ses-1" / "anat", "sub-01_ses-1_label-lesion_mask")
    assert found(tmp_path) == {
        "sub-01_ses-1": ["sub-01_ses-1_T1w", "sub-01_ses-1_ce-gd_T1w", "sub-01_ses-1_label-lesion_mask"]
    }


def test_two_files_of_one_rank_are_refused_with_the_option_that_chooses_a_mask() -> None:
    with pytest.raises(BadStudyError, match=r"sub-01_T1w.nii and sub-01_run-2_T1w.nii are both t1; keep one"):
        by_role([Path("sub-01_T1w.nii"), Path("sub-01_run-2_T1w.nii")])
    with pytest.raises(BadStudyError, match=r"are both masks; name the right one in options\.mask_names"):
        by_role([Path("a_seg.nii"), Path("a_seg.nii.gz")])
