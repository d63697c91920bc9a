"""A hospital's own series with outlines in SEG or RTSTRUCT."""

import copy
from pathlib import Path

import numpy as np
import pytest
from dicom_files import CORONAL, body, ct_series, segmentation, structure_set, write
from pydicom.uid import generate_uid

from common.errors import BadStudyError, ConfigError, DataError
from common.imaging.readers.dicom import DicomReader
from common.imaging.remarks import Question

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
