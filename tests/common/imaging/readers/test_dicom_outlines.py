"""What the names of outlines decide: a tumour, a question, a remark or nothing."""

from pathlib import Path

import numpy as np
import pytest
from dicom_files import body, ct_series, segmentation, structure_set, write
from pydicom.uid import generate_uid

from common.errors import BadStudyError
from common.imaging.patient import Patient
from common.imaging.readers.dicom import DicomReader
from common.imaging.remarks import Question, Remark

SHAPE = (8, 32, 40)
GTV = np.zeros(SHAPE, np.uint8)
GTV[2:4, 10:20, 12:22] = 1
LIVER = np.zeros(SHAPE, np.uint8)
LIVER[1:6, 6:22, 10:30] = 1
SQUARE = np.array([(11.5, 9.5), (21.5, 9.5), (21.5, 19.5), (11.5, 19.5)])


def reader(**options: object) -> DicomReader:
    return DicomReader(**{"organ": "liver", "contrasts": ("ct",), "tumour_segments": ("gtv",), **options})  # type: ignore[arg-type]


def asked(name: str) -> Question:
    """Nobody has said what an outline is."""
    return Question(name, ("tumour_segments", "other_segments"))


def empty(name: str) -> Question:
    """An outline of a tumour is drawn on no slice."""
    return Question(name, ("empty_segments",))


def patient_with(folder: Path, *outlines: dict[str, object], **options: object) -> Patient:
    """One series, outlined in files of contours (lists) or masks (arrays), as the reader reads it."""
    slices = ct_series(body(SHAPE))
    made = [
        structure_set(slices, one)
        if any(isinstance(drawn, list) for drawn in one.values())
        else segmentation(slices, one)  # type: ignore[arg-type]
        for one in outlines
    ]
    write([*slices, *made], folder)
    [location] = reader(**options).find(folder)
    return reader(**options).read(location)


DRAWN: dict[str, object] = {"mask": GTV, "contours": [(2, SQUARE), (3, SQUARE)]}
ORGAN: dict[str, object] = {"mask": LIVER, "contours": [(4, SQUARE)]}
NOTHING: dict[str, object] = {"mask": GTV * 0, "contours": []}


@pytest.mark.parametrize("kind", DRAWN)
@pytest.mark.parametrize("name", ["GTV_1", "GTVp", "GTV 1", "gtvs", "Mass", "tumour", ""])
def test_an_outline_of_which_nobody_has_said_what_it_is_is_asked_for(tmp_path: Path, kind: str, name: str) -> None:
    patient = patient_with(tmp_path, {"Liver": ORGAN[kind], name: DRAWN[kind]}, organ_segments=("liver",))
    assert patient.questions == (asked(name.casefold() or "unnamed"),)
    assert not patient.has_tumour


@pytest.mark.parametrize("kind", DRAWN)
def test_an_outline_file_of_unknown_names_alone_asks_the_same(tmp_path: Path, kind: str) -> None:
    patient = patient_with(tmp_path, {"HCC": DRAWN[kind], "Cord": ORGAN[kind]})
    assert patient.questions == (asked("cord"), asked("hcc"))


@pytest.mark.parametrize("kind", DRAWN)
@pytest.mark.parametrize(
    "answer",
    [{"tumour_segments": ("gtv", "gtv_*")}, {"tumour_segments": ("GTV*",)}, {"tumour_segments": (" gtv_1 ",)}],
)
def test_a_question_is_answered_by_a_name_or_a_pattern_of_tumours(
    tmp_path: Path, kind: str, answer: dict[str, object]
) -> None:
    patient = patient_with(tmp_path, {"GTV_1": DRAWN[kind], "Liver": ORGAN[kind]}, **answer)
    assert patient.questions == ()
    np.testing.assert_array_equal(patient.labels, GTV)
    assert patient.remarks == (Remark("outline", "liver"),)


@pytest.mark.parametrize("kind", DRAWN)
@pytest.mark.parametrize("other", ["spinal cord", "SPINAL*", "*"])
def test_what_is_listed_as_other_is_neither_asked_for_nor_told(tmp_path: Path, kind: str, other: str) -> None:
    options: dict[str, object] = {"organ_segments": ("liver",), "other_segments": (other,)}
    outlines = {"Liver": ORGAN[kind], "Spinal  Cord": ORGAN[kind]}
    patient = patient_with(tmp_path / "without", outlines, **options)
    assert (patient.questions, patient.has_tumour) == ((), False)
    assert patient.labels is not None
    assert not [remark for remark in patient.remarks if remark.kind == "outline"]
    patient = patient_with(tmp_path / "with", {**outlines, "GTV": DRAWN[kind]}, **options)
    assert patient.has_tumour
    assert not [remark for remark in patient.remarks if remark.kind == "outline"]


def test_a_name_that_is_written_out_goes_before_patterns_and_tumours_before_the_rest(tmp_path: Path) -> None:
    outlines = {"liver tumour": GTV, "liver": LIVER, "liver vein": LIVER}
    patient = patient_with(
        tmp_path,
        outlines,
        tumour_segments=("*tumour",),
        organ_segments=("liver*",),
        other_segments=("liver vein", "*"),
    )
    np.testing.assert_array_equal(patient.labels, GTV)
    np.testing.assert_array_equal(patient.organ_mask, LIVER | GTV)
    assert patient.remarks == (
        Remark("guess", "liver fits organ_segments and other_segments, taken as of organ_segments"),
        Remark(
            "guess",
            "liver tumour fits tumour_segments and organ_segments and other_segments, taken as of tumour_segments",
        ),
    )


@pytest.mark.parametrize("kind", DRAWN)
def test_an_empty_outline_of_a_tumour_is_asked_for_unless_it_says_that_there_is_none(tmp_path: Path, kind: str) -> None:
    outlines = {"Liver": ORGAN[kind], "GTV": NOTHING[kind]}
    options: dict[str, object] = {"organ_segments": ("liver",)}
    assert patient_with(tmp_path / "a", outlines, **options).questions == (empty("gtv"),)
    answered = patient_with(tmp_path / "b", outlines, **options, empty_segments=("G*",))
    assert (answered.questions, answered.remarks, answered.has_tumour) == ((), (), False)
    assert answered.labels is not None
    alone = patient_with(
        tmp_path / "c", {"GTV": NOTHING[kind], "Cord": ORGAN[kind]}, other_segments=("cord",), empty_segments=("gtv",)
    )
    assert (alone.questions, alone.has_tumour) == ((), False)
    assert alone.labels is not None


@pytest.mark.parametrize("kind", DRAWN)
def test_an_empty_outline_beside_a_drawn_tumour_is_told(tmp_path: Path, kind: str) -> None:
    patient = patient_with(tmp_path, {"GTV": DRAWN[kind], "GTV 2": NOTHING[kind]}, tumour_segments=("gtv*",))
    np.testing.assert_array_equal(patient.labels, GTV)
    assert patient.questions == ()
    assert patient.remarks == (Remark("guess", "gtv 2, drawn on no slice, taken as no tumour beside another"),)


def test_an_empty_outline_of_a_tumour_in_one_file_is_filled_by_another(tmp_path: Path) -> None:
    patient = patient_with(tmp_path, {"GTV": []}, {"GTV": GTV})
    np.testing.assert_array_equal(patient.labels, GTV)
    assert patient.questions == patient.remarks == ()


def test_an_organ_of_which_nothing_is_drawn_makes_no_healthy_patient(tmp_path: Path) -> None:
    with pytest.raises(BadStudyError, match=r"outlines liver, neither a tumour nor the organ"):
        patient_with(tmp_path / "a", {"Liver": []}, organ_segments=("liver",))
    patient = patient_with(tmp_path / "b", {"Liver": [], "GTV": [(2, SQUARE)]}, organ_segments=("liver",))
    assert patient.organ_mask is None
    [remark] = patient.remarks
    assert remark.what == "liver, of which nothing is drawn that can be used, taken as not outlined"


def test_a_tumour_of_which_nothing_can_be_used_is_no_healthy_patient(tmp_path: Path) -> None:
    for number, beside in enumerate(({}, {"GTV": [(2, SQUARE)]})):
        slices = ct_series(body(SHAPE))
        outline = structure_set(slices, {"gtv 2": [(3, SQUARE)], "Liver": [(4, SQUARE)], **beside})
        outline.ROIContourSequence[0].ContourSequence[0].ContourGeometricType = "OPEN_PLANAR"
        write([*slices, outline], tmp_path / str(number))
        chosen = reader(organ_segments=("liver",), tumour_segments=("gtv*",))
        [location] = chosen.find(tmp_path / str(number))
        with pytest.raises(BadStudyError, match="nothing of gtv 2 can be used, its contours are not closed; store"):
            chosen.read(location)


def test_two_files_of_outlines_are_one_study(tmp_path: Path) -> None:
    patient = patient_with(tmp_path / "a", {"Liver": LIVER}, {"GTV": GTV}, organ_segments=("liver",))
    np.testing.assert_array_equal(patient.labels, GTV)
    patient = patient_with(tmp_path / "b", {"Liver": LIVER}, {"HCC": GTV}, organ_segments=("liver",))
    assert patient.questions == (asked("hcc"),)
    patient = patient_with(tmp_path / "c", {"HCC": GTV}, {"GTV": GTV}, organ_segments=("liver",))
    assert patient.questions == ()
    assert patient.remarks == (Remark("outline", "hcc"),)


@pytest.mark.parametrize("name", ["GTV", "HCC"])
def test_a_series_without_a_tumour_is_not_healthy_where_another_of_its_study_has_one(tmp_path: Path, name: str) -> None:
    study = generate_uid()
    early, late = (ct_series(body(SHAPE, seed=seed), study=study) for seed in (1, 2))
    outlines = [segmentation(early, {"Liver": LIVER}), segmentation(late, {"Liver": LIVER, name: GTV})]
    write([*early, *late, *outlines], tmp_path)
    chosen = reader(organ_segments=("liver",))
    read, refused = [], []
    for location in chosen.find(tmp_path):
        try:
            read.append(chosen.read(location))
        except BadStudyError as error:
            refused.append(error.reason)
    [patient], [reason] = read, refused
    np.testing.assert_array_equal(patient.images[0], body(SHAPE, seed=2))
    assert patient.has_tumour == (name == "GTV")
    assert patient.questions == (() if name == "GTV" else (asked("hcc"),))
    assert f"outlines {name.casefold()} on another series of this study" in reason
    both = reader(organ_segments=("liver",), tumour_segments=("x",), other_segments=("gtv", "hcc"))
    assert [both.read(location).has_tumour for location in both.find(tmp_path)] == [False, False]


@pytest.mark.parametrize("lost", ["series", "bytes"])
def test_a_series_without_a_tumour_is_not_healthy_where_outlines_of_its_study_are_lost(
    tmp_path: Path, lost: str
) -> None:
    slices = ct_series(body(SHAPE))
    drawn_on = slices if lost == "bytes" else ct_series(body(SHAPE), study=slices[0].StudyInstanceUID)
    write([*slices, segmentation(slices, {"Liver": LIVER})], tmp_path)
    [path] = write([structure_set(drawn_on, {"GTV": [(2, SQUARE)]})], tmp_path / "outlines")
    if lost == "bytes":
        path.write_bytes(path.read_bytes().replace(b"IS", b"UL"))
    chosen = reader(organ_segments=("liver",))
    for location in chosen.find(tmp_path):
        with pytest.raises(BadStudyError, match=r"000\.dcm: (outlines gtv on another|the series that|cannot be)"):
            chosen.read(location)
