"""A hospital's own series with outlines in SEG or RTSTRUCT."""

import copy
from pathlib import Path

import numpy as np
import pytest
from dicom_files import CORONAL, body, ct_series, segmentation, structure_set, write
from pydicom.uid import generate_uid

from common.errors import BadStudyError, ConfigError, DataError
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


def test_a_segmented_series_is_read_with_its_tumour_and_organ(tmp_path: Path) -> None:
    slices = ct_series(body(SHAPE), patient="A")
    write([*slices, segmentation(slices, {"GTV": GTV, "Liver": LIVER})], tmp_path)
    [location] = reader().find(tmp_path)
    patient = reader(organ_segments=("liver",)).read(location)
    np.testing.assert_array_equal(patient.labels, GTV)
    np.testing.assert_array_equal(patient.organ_mask, LIVER | GTV)
    assert reader().read(location).organ_mask is None
    assert len(location.files) == 9


def test_a_contoured_series_is_read_with_its_tumour(tmp_path: Path) -> None:
    slices = ct_series(body(SHAPE), orientation=CORONAL)
    write([*slices, structure_set(slices, {"GTV": [(2, SQUARE), (3, SQUARE)], "Cord": []})], tmp_path)
    [location] = reader().find(tmp_path)
    patient = reader().read(location)
    assert patient.labels is not None
    assert patient.labels.sum() == 200
    assert patient.images.shape == (1, 32, 8, 40)
    assert patient.spacing == pytest.approx((0.8, 2.5, 0.8))
    # The rows of a coronal slice descend; its slices ascend along the normal, to posterior.
    np.testing.assert_array_equal(patient.labels, GTV[:, ::-1].transpose(1, 0, 2))


def test_several_outlines_and_names_are_joined(tmp_path: Path) -> None:
    slices = ct_series(body(SHAPE))
    structures = structure_set(slices, {"GTV 2": [(6, SQUARE)]})
    write([*slices, segmentation(slices, {"gtv 1": GTV}), structures], tmp_path)
    [location] = reader().find(tmp_path)
    patient = reader(tumour_segments=("GTV 1", "GTV 2")).read(location)
    assert patient.labels is not None
    assert patient.labels.any(axis=(1, 2)).tolist() == [False, False, True, True, False, False, True, False]


def test_a_series_without_outlines_has_no_labels(tmp_path: Path) -> None:
    write(ct_series(body(SHAPE)), tmp_path)
    [location] = reader().find(tmp_path)
    patient = reader().read(location)
    assert patient.labels is None
    assert patient.organ_mask is None


def test_the_other_series_of_an_outlined_study_are_left_aside(tmp_path: Path) -> None:
    study = generate_uid()
    slices, other = ct_series(body(SHAPE), study=study), ct_series(body(SHAPE), study=study)
    elsewhere = ct_series(body(SHAPE), patient="other")
    write([*slices, *other, segmentation(slices, {"GTV": GTV}), *elsewhere], tmp_path)
    outlined, plain = sorted(reader().find(tmp_path), key=lambda location: -len(location.files))
    assert reader().read(outlined).has_tumour
    assert reader().read(plain).labels is None
    assert plain.patient == "other"


def test_an_organ_outlined_alone_is_a_patient_without_a_tumour(tmp_path: Path) -> None:
    slices = ct_series(body(SHAPE))
    write([*slices, segmentation(slices, {"Liver": LIVER})], tmp_path)
    [location] = reader().find(tmp_path)
    patient = reader(organ_segments=("liver",)).read(location)
    assert patient.labels is not None
    assert not patient.has_tumour
    assert patient.remarks == patient.questions == ()
    assert reader().read(location).questions == (Question("liver", ("tumour_segments", "other_segments")),)
    with pytest.raises(BadStudyError, match=r"outlines liver, neither a tumour nor the organ, .* in organ_segments"):
        reader(other_segments=("liver",)).read(location)


def test_an_outline_of_a_series_that_is_not_there_says_so(tmp_path: Path) -> None:
    write(
        [*ct_series(body(SHAPE), patient="A"), structure_set(ct_series(body(SHAPE)), {"GTV": [(2, SQUARE)]})], tmp_path
    )
    plain, astray = reader().find(tmp_path)
    assert reader().read(plain).labels is None
    with pytest.raises(BadStudyError, match="the series that it was drawn on is not here"):
        reader().read(astray)


def test_a_file_that_may_not_be_read_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(ct_series(body(SHAPE)), tmp_path)
    [location] = reader().find(tmp_path)

    def forbid(path: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", forbid)
    with pytest.raises(BadStudyError, match=r"000\.dcm: not allowed to read"):
        reader().read(location)


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


def test_outlines_that_name_no_images_are_taken_by_their_space_with_a_remark(tmp_path: Path) -> None:
    slices = ct_series(body(SHAPE))
    outline = structure_set(slices, {"GTV": [(2, SQUARE)]})
    outline.FrameOfReferenceUID = slices[0].FrameOfReferenceUID
    del outline.ReferencedFrameOfReferenceSequence
    del outline.ROIContourSequence[0].ContourSequence[0].ContourImageSequence
    write([*slices, outline], tmp_path)
    [location] = reader().find(tmp_path)
    patient = reader().read(location)
    assert patient.has_tumour
    assert [remark.what for remark in patient.remarks] == [
        "outlines that name no images, taken as drawn on the one series in their space"
    ]


def test_outlines_that_name_several_series_are_matched_by_their_images(tmp_path: Path) -> None:
    study = generate_uid()
    one, two = (ct_series(body(SHAPE, seed=seed), study=study) for seed in (1, 2))
    outline = structure_set(two, {"GTV": [(2, SQUARE)]})
    named = outline.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0].RTReferencedSeriesSequence
    named.append(copy.deepcopy(named[0]))
    named[1].SeriesInstanceUID = one[0].SeriesInstanceUID
    write([*one, *two, outline], tmp_path)
    [location] = reader().find(tmp_path)
    np.testing.assert_array_equal(reader().read(location).images[0], body(SHAPE, seed=2))


def test_studies_without_uids_are_told_apart_and_refused_for_that_reason(tmp_path: Path) -> None:
    for name in ("one", "two"):
        slices = ct_series(body(SHAPE), patient="")
        for dataset in slices:
            dataset.SeriesInstanceUID = dataset.StudyInstanceUID = ""
        write(slices, tmp_path / name)
    locations = reader().find(tmp_path)
    assert [location.patient for location in locations] == [str(tmp_path / "one"), str(tmp_path / "two")]
    for location in locations:
        with pytest.raises(
            BadStudyError, match=r"000\.dcm: SeriesInstanceUID is missing \(removed, or .* replace UIDs"
        ):
            reader().read(location)


def test_series_without_a_study_are_studies_of_their_own(tmp_path: Path) -> None:
    """Otherwise one outlined series would stand for all of them, and the others be left aside."""
    drawn_on, plain = (ct_series(body(SHAPE, seed=seed), patient="") for seed in (1, 2))
    for dataset in (*drawn_on, *plain):
        dataset.StudyInstanceUID = ""
    mask = segmentation(drawn_on, {"GTV": GTV})
    write([*drawn_on, *plain, mask], tmp_path)
    read = [reader().read(location) for location in reader().find(tmp_path)]
    assert {patient.patient: patient.has_tumour for patient in read} == {
        drawn_on[0].SeriesInstanceUID: True,
        plain[0].SeriesInstanceUID: False,
    }


def test_slices_without_a_uid_are_named(tmp_path: Path) -> None:
    slices = ct_series(body(SHAPE))
    slices[3].SOPInstanceUID = ""
    write(slices, tmp_path)
    [location] = reader().find(tmp_path)
    with pytest.raises(BadStudyError, match=r"003\.dcm: SOPInstanceUID is missing; let the de-identification"):
        reader().read(location)


def test_files_that_state_no_modality_are_named(tmp_path: Path) -> None:
    slices = ct_series(body(SHAPE))
    for dataset in slices:
        dataset.Modality = ""
    write(slices, tmp_path)
    with pytest.raises(DataError, match=r"no CT series .* found only files that state no Modality; set"):
        reader().find(tmp_path)


def test_an_mr_series_is_chosen_by_its_description(tmp_path: Path) -> None:
    values = np.abs(body(SHAPE))
    flair = ct_series(values, modality="MR", description="Ax FLAIR")
    t1 = ct_series(values + 1, modality="MR", description="Ax T1", study=flair[0].StudyInstanceUID)
    write([*flair, *t1, *ct_series(body(SHAPE))], tmp_path)
    chosen = reader(organ="brain", contrasts=("flair",), series="flair")
    [location] = chosen.find(tmp_path)
    patient = chosen.read(location)
    np.testing.assert_array_equal(patient.images[0], values)
    assert patient.modality == "MR"
    assert len(reader(organ="brain", contrasts=("t1",)).find(tmp_path)) == 2
    with pytest.raises(DataError, match="no series is described as 'adc'; descriptions are Ax FLAIR, Ax T1"):
        reader(organ="brain", contrasts=("t1",), series="adc").find(tmp_path)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"organ": "heart"}, "unknown organ"),
        ({"contrasts": ("t1", "t2")}, "give one of"),
        ({"tumour_segments": ()}, "list the names of tumours"),
        ({"tumour_segments": "gtv"}, r"tumour_segments is a list of names, each a text, e\.g\. tumour_segments: \[GTV"),
        ({"tumour_segments": ("gtv", 1)}, "tumour_segments is a list of names, each a text"),
        ({"other_segments": "cord"}, r"other_segments is a list of names, .* other_segments: \[cord"),
        ({"empty_segments": None}, "empty_segments is a list of names"),
        ({"other_segments": ("Cord", " gtv")}, "gtv stands in tumour_segments and in other_segments; keep it in one"),
        ({"organ_segments": ("liv*",), "other_segments": ("LIV*",)}, r"liv\* stands in organ_segments and in other"),
        ({"organ_segments": "liver"}, "organ_segments is a list"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, object], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        reader(**options)
