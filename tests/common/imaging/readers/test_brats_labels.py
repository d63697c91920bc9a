import numpy as np
import pytest

from common.errors import BadStudyError
from common.imaging.readers.brats_labels import numbering_of, tumour_labels
from common.imaging.remarks import Remark

OLD, NEW = ("flair", "t1ce"), ("t2f", "t1c")


def read(
    case: str, words: tuple[str, ...], values: list[int], label_4: str = ""
) -> tuple[list[int], tuple[Remark, ...]]:
    mask = np.array(values, np.int16).reshape(1, 1, -1)
    labels, remarks = tumour_labels(mask, numbering_of(case, words, label_4), "x_seg.nii.gz")
    return labels.ravel().tolist(), remarks


@pytest.mark.parametrize(
    ("case", "words", "values", "labels"),
    [
        ("BraTS2021_00001", OLD, [0, 1, 2, 4], [0, 1, 2, 4]),
        ("hospital_7", OLD, [0, 1, 2, 4], [0, 1, 2, 4]),
        ("hospital_7", ("t1c", "flair"), [0, 1, 2, 4], [0, 1, 2, 4]),
        ("hospital_7", NEW, [0, 1, 2, 3], [0, 1, 2, 4]),
        ("hospital_7", OLD, [0, 1, 2, 3], [0, 1, 2, 4]),
        ("UPENN-GBM-00001_11", ("t1gd", "t2"), [0, 1, 2, 4], [0, 1, 2, 4]),
        ("UCSF-PDGM-0004", ("t1c",), [0, 1, 2, 4], [0, 1, 2, 4]),
        ("BraTS-GLI-00001-000", NEW, [0, 1, 2, 3], [0, 1, 2, 4]),
        ("BraTS-GLI-00001-000", OLD, [0, 1, 2, 3], [0, 1, 2, 4]),
        ("BraTS-MET-00001-000", NEW, [0, 1, 2, 3], [0, 1, 2, 4]),
        ("BraTS-MEN-00001-000", NEW, [0, 1, 2, 3], [0, 1, 2, 4]),
        ("BraTS-MEN-RT-0001-1", ("t1c",), [0, 1], [0, 1]),
        ("BraTS-PED-00001-000", NEW, [0, 1, 2, 3, 4], [0, 4, 1, 1, 2]),
        ("brats_tcia_pat105_0001", OLD, [0, 1, 2, 3, 4], [0, 1, 2, 1, 4]),
    ],
)
def test_labels_mean_what_they_mean_in_the_set_that_a_case_is_named_after(case, words, values, labels) -> None:
    assert read(case, words, values)[0] == labels


@pytest.mark.parametrize(
    "case", ["BraTS-GLI-02062-100", "BraTS-MET-00001-000", "sub-01_ses-1", "100001_time1", "UCSD-PTGBM-0002_01"]
)
def test_what_4_is_has_to_be_said_where_sets_differ(case: str) -> None:
    with pytest.raises(BadStudyError, match=r"holds 4, which .*options\.label_4: resection_cavity, or enhancing"):
        read(case, NEW, [0, 1, 4])
    assert read(case, NEW, [0, 1, 4], "enhancing")[0] == [0, 1, 4]
    labels, remarks = read(case, NEW, [0, 1, 4], "resection_cavity")
    assert labels == [0, 1, 0]
    assert remarks == (Remark("value", "4 (resection cavity)"),)


def test_a_case_with_a_cavity_alone_has_no_tumour_and_says_so() -> None:
    labels, remarks = read("BraTS-GLI-02062-100", NEW, [0, 4, 4], "resection_cavity")
    assert labels == [0, 0, 0]
    assert remarks == (Remark("value", "4 (resection cavity)"),)


def test_the_cavity_of_mu_glioma_post_is_known_and_what_4_is_elsewhere_is_not_changed_by_the_option() -> None:
    assert read("PatientID_0003_Timepoint_1", ("brain_t1c",), [3, 4])[0] == [4, 0]
    assert read("UPENN-GBM-00001_11", OLD, [4], "resection_cavity")[0] == [4]
    assert read("BraTS-PED-00001-000", NEW, [4], "resection_cavity")[0] == [2]


def test_a_hospitals_own_names_with_a_cavity_are_read_as_in_2024() -> None:
    assert read("hospital_7", OLD, [1, 2, 3, 4], "resection_cavity")[0] == [1, 2, 4, 0]


def test_guesses_of_what_labels_mean_are_told() -> None:
    assert [remark.kind for remark in read("BraTS-PED-00001-000", NEW, [1])[1]] == ["guess"]
    assert read("BraTS-PED-00001-000", NEW, [0])[1] == ()
    assert read("sub-01", ("t1w",), [3])[1] == (
        Remark("guess", "label 3 read as enhancing tumour, as in BraTS since 2023"),
    )
    assert read("hospital_7", OLD, [3])[1] == read("sub-01", ("t1w",), [3])[1]
    assert read("sub-01", ("t1w",), [1, 2])[1] == ()


def test_a_hospitals_own_mask_with_3_and_4_has_to_say_what_4_is() -> None:
    with pytest.raises(BadStudyError, match=r"holds 4, which .*options\.label_4"):
        read("hospital_7", OLD, [1, 3, 4])
    assert read("hospital_7", OLD, [1, 3, 4], "enhancing")[0] == [1, 4, 4]


@pytest.mark.parametrize(
    ("case", "value"), [("BraTS2021_1", 3), ("BraTS-GLI-00001-000", 5), ("BraTS-MEN-RT-0001-1", 2)]
)
def test_any_other_value_is_refused_with_those_that_there_are(case: str, value: int) -> None:
    with pytest.raises(BadStudyError, match=rf"mask holds {value}; labels are 0, 1"):
        read(case, OLD, [0, value])


def test_a_negative_value_and_a_very_large_one_are_refused() -> None:
    for value in (-1, 30_000):
        with pytest.raises(BadStudyError, match=f"mask holds {value}"):
            read("BraTS2021_1", OLD, [value])
