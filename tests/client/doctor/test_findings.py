"""What counts as odd, on studies made up for it."""

from dataclasses import replace
from pathlib import Path

import pytest

from client.doctor.findings import duplicates, outliers, study_rows
from common.imaging.cache import PreparedPatient
from common.imaging.facts import StudyFacts
from common.imaging.patient import Lesion

CT = {"ct": (-1000.0, -990.0, -800.0, 30.0, 60.0, 200.0, 900.0)}
MR = {"t1": (0.0, 0.0, 10.0, 200.0, 300.0, 500.0, 900.0)}


def study(name: str, **values: object) -> StudyFacts:
    usual = StudyFacts(
        path=Path(name),
        modality="CT",
        shape=(10, 64, 64),
        spacing=(2.5, 0.8, 0.8),
        spacing_known=True,
        intensities=CT,
        has_mask=True,
        tumour_slices=2,
        lesion_mm3=10.0,
        lesions=(),
        identifying=(),
        remarks=(),
        questions=(),
        digest=name,
    )
    return replace(usual, **values)  # type: ignore[arg-type]


def patient(name: str, *studies: StudyFacts) -> PreparedPatient:
    return PreparedPatient(name, "", True, 10, studies or (study(name),), (), None, ())


def usual(count: int = 5) -> list[PreparedPatient]:
    return [patient(f"p{number}") for number in range(count)]


def test_a_site_like_itself_has_no_outlier():
    assert outliers(study_rows(usual())) == []


@pytest.mark.parametrize(
    ("odd", "what", "value", "usually"),
    [
        ({"spacing": (5.0, 0.8, 0.8)}, "spacing between slices", "5.00 mm", "2.50 mm"),
        ({"spacing": (2.5, 0.8, 0.4)}, "spacing across", "0.40 mm", "0.80 mm"),
        ({"intensities": {"ct": (-1000.0, 0, 0, 1030.0, 0, 0, 0)}}, "median intensity", "1030 HU", "30 HU"),
        (
            {"intensities": {"ct": (24.0, 0, 0, 30.0, 0, 0, 0)}},
            "darkest value; is the rescale intercept right?",
            "24 HU",
            "-1000 HU (air)",
        ),
        (
            {"intensities": {"ct": (-1000.0, 0, 0, 30.0, 0, 3069.0, 0)}},
            "99th percentile; is the rescale slope right?",
            "3069 HU",
            "below 1000 HU",
        ),
    ],
)
def test_a_study_far_from_the_median_is_an_outlier(odd, what, value, usually):
    (found,) = outliers(study_rows([*usual(), patient("odd", study("odd", **odd))]))
    assert (found.patient, found.what, found.value, found.usual) == ("odd", what, value, usually)


def test_mri_is_compared_by_factors():
    def scanned(name: str, factor: float) -> PreparedPatient:
        return patient(name, study(name, modality="MR", intensities={"t1": tuple(factor * v for v in MR["t1"])}))

    patients = [scanned(f"p{n}", 1 + n / 4) for n in range(5)]
    assert outliers(study_rows([*patients, scanned("double", 3)])) == []
    (found,) = outliers(study_rows([*patients, scanned("odd", 30)]))
    assert (found.patient, found.what) == ("odd", "brightness of t1 (99th percentile)")
    (dark,) = outliers(study_rows([*patients, scanned("black", 0)]))
    assert dark.patient == "black"


def test_among_three_studies_nothing_is_usual():
    assert outliers(study_rows([*usual(2), patient("odd", study("odd", spacing=(9.0, 0.8, 0.8)))])) == []


def test_hounsfield_units_that_cannot_be_right_are_told_of_a_single_study():
    (found,) = outliers(study_rows([patient("raw", study("raw", intensities={"ct": (0.0, 0, 0, 1030.0, 0, 0, 0)}))]))
    assert found.value == "0 HU"


def test_what_is_known_of_lesions_is_told():
    lesions = (Lesion((1, 2, 3), 80.0, readers=4, malignancy=4.5), Lesion((1, 2, 3), 8.0, readers=3))
    (row,) = study_rows([patient("p", study("p", lesions=lesions))])
    assert [(lesion.readers, lesion.malignancy, lesion.malignant) for lesion in row.lesions] == [
        (4, 4.5, True),
        (3, None, None),
    ]


def test_an_unknown_spacing_is_no_outlier():
    assert outliers(study_rows([*usual(), patient("2d", study("2d", spacing=(1, 9, 9), spacing_known=False))])) == []


def test_studies_that_may_be_one_are_found():
    patients = [
        patient("TCGA-01"),
        patient("tcga_01"),
        patient("other", study("other", digest="TCGA-01")),
        patient("twice", study("first"), study("second")),
    ]
    kinds = {found.kind: [one.path for one in found.studies] for found in duplicates(patients, patients_known=True)}
    assert kinds == {
        "same_pixels": ["TCGA-01", "other"],
        "similar_names": ["TCGA-01", "tcga_01"],
        "several_studies": ["first", "second"],
    }


def test_names_say_nothing_where_there_are_no_patients():
    patients = [patient("img-1"), patient("img_1"), patient("x", study("x", digest="img-1"))]
    assert {found.kind for found in duplicates(patients, patients_known=False)} == {"same_pixels"}
