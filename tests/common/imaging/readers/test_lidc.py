import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_files import body, ct_series, enhanced, write
from lidc_files import (
    annotation,
    disc,
    disc_edge,
    nodule,
    non_nodule,
    radiograph_annotation,
    rois,
    session,
    small_nodule,
)
from pydicom import FileDataset

from common.errors import BadStudyError, ConfigError, DataError
from common.imaging.patient import Patient
from common.imaging.readers.lidc import LidcReader
from common.imaging.readers.registry import build_reader

SHAPE = (8, 40, 44)
READER = LidcReader()


def scan(patient: str = "LIDC-IDRI-0001", **options: Any) -> list[FileDataset]:
    return ct_series(body(SHAPE, seed=options.pop("seed", 0)), patient=patient, **options)


def ball(slices: list[FileDataset], x: int = 16, y: int = 22, radius: float = 4, **options: Any) -> str:
    """A nodule on slices 3 and 4."""
    return nodule(rois(slices, {z: disc_edge(x, y, radius) for z in (3, 4)}), **options)


def put(
    root: Path, slices: list[FileDataset], sessions: list[str] | None, *, folder: str = "a/b", xml: str = "a/b/071.xml"
) -> None:
    write(slices, root / folder)
    if sessions is not None:
        path = root / xml
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(annotation(slices[0].SeriesInstanceUID, sessions))


def read(root: Path, reader: LidcReader = READER) -> Patient:
    (location,) = reader.find(root)
    return reader.read(location)


def reason(root: Path, reader: LidcReader = READER) -> str:
    (location,) = reader.find(root)
    with pytest.raises(BadStudyError) as caught:
        reader.read(location)
    return caught.value.reason


def labels_of(patient: Patient) -> np.ndarray:
    assert patient.labels is not None
    return patient.labels


def drawn(slices_and_masks: Mapping[int, np.ndarray]) -> np.ndarray:
    labels = np.zeros(SHAPE, np.uint8)
    for z, mask in slices_and_masks.items():
        labels[z][mask] = 1
    return labels


def test_a_nodule_that_three_readers_outlined_is_a_tumour_with_their_median_malignancy(tmp_path: Path) -> None:
    slices = scan()
    put(tmp_path, slices, [session(ball(slices, malignancy=rating)) for rating in (5, 4, 2)] + [session()])
    patient = read(tmp_path)
    assert (patient.patient, patient.organ, patient.contrasts) == ("LIDC-IDRI-0001", "lung", ("ct",))
    assert patient.images.shape == (1, *SHAPE)
    np.testing.assert_array_equal(patient.images[0], body(SHAPE))
    mask = disc(16, 22, 4, SHAPE[1:])
    np.testing.assert_array_equal(labels_of(patient), drawn({3: mask, 4: mask}))
    assert patient.spacing == pytest.approx((2.5, 0.8, 0.8))
    (lesion,) = patient.lesions
    assert (lesion.readers, lesion.malignancy, lesion.is_malignant) == (3, 4.0, True)
    assert lesion.centre == pytest.approx((3.5, 22, 16))
    assert lesion.volume_mm3 == pytest.approx(2 * mask.sum() * 2.5 * 0.8 * 0.8)


def test_a_benign_nodule_is_a_tumour_too(tmp_path: Path) -> None:
    slices = scan()
    put(tmp_path, slices, [session(ball(slices, malignancy=1))] * 4)
    patient = read(tmp_path)
    assert patient.has_tumour
    assert patient.lesions[0].is_malignant is False


def test_a_disputed_nodule_is_no_tumour_but_a_lesion_with_its_readers(tmp_path: Path) -> None:
    slices = scan()
    put(tmp_path, slices, [session(ball(slices))] * 2 + [session()] * 2)
    patient = read(tmp_path)
    assert not patient.has_tumour
    assert not labels_of(patient).any()
    assert [lesion.readers for lesion in patient.lesions] == [2]
    assert patient.lesions[0].volume_mm3 > 0
    assert read(tmp_path, LidcReader(min_readers=2)).has_tumour


def test_a_scan_in_which_nobody_marked_anything_is_a_patient_without_a_tumour(tmp_path: Path) -> None:
    slices = scan()
    put(tmp_path, slices, [session(), session(non_nodule(slices, 2, 10, 10)), session(), session()])
    patient = read(tmp_path)
    assert not labels_of(patient).any()
    assert patient.lesions == ()
    assert not patient.has_tumour


def test_three_sessions_are_enough_for_three_readers_but_two_are_not(tmp_path: Path) -> None:
    slices = scan()
    put(tmp_path / "three", slices, [session(ball(slices))] * 3)
    assert read(tmp_path / "three").has_tumour
    put(tmp_path / "two", slices, [session(ball(slices))] * 2)
    assert reason(tmp_path / "two") == "was read by 2 readers, fewer than the 3 who must agree"
    assert read(tmp_path / "two", LidcReader(min_readers=2)).has_tumour


def test_a_hole_is_left_out_of_the_nodule(tmp_path: Path) -> None:
    slices = scan()
    hole = rois(slices, {3: disc_edge(16, 22, 2)}, inclusion=False)
    mark = nodule(hole + rois(slices, {z: disc_edge(16, 22, 8) for z in (3, 4)}))
    put(tmp_path, slices, [session(mark)] * 4)
    labels = labels_of(read(tmp_path))
    whole = disc(16, 22, 8, SHAPE[1:])
    np.testing.assert_array_equal(labels[4], whole)
    assert not labels[3][disc(16, 22, 2, SHAPE[1:])].any()
    assert not labels[3][tuple(disc_edge(16, 22, 2).T[::-1])].any()
    assert labels[3].sum() == whole.sum() - disc(16, 22, 2, SHAPE[1:]).sum() - len(disc_edge(16, 22, 2))


def test_a_nodule_under_3_mm_is_counted_without_a_mask(tmp_path: Path) -> None:
    slices = scan()
    put(tmp_path, slices, [session(small_nodule(slices, 5, 30, 12))] * 3 + [session()])
    patient = read(tmp_path)
    assert not patient.has_tumour
    (lesion,) = patient.lesions
    assert (lesion.centre, lesion.volume_mm3, lesion.readers, lesion.malignancy) == ((5, 12, 30), 0.0, 3, None)


def test_empty_characteristics_leave_the_malignancy_unknown(tmp_path: Path) -> None:
    slices = scan()
    put(tmp_path, slices, [session(ball(slices, malignancy=None))] * 3)
    assert read(tmp_path).lesions[0].malignancy is None
    put(tmp_path, slices, [session(ball(slices, malignancy=None))] * 3 + [session(ball(slices, malignancy=2))])
    assert read(tmp_path).lesions[0].malignancy == 2


def test_radiographs_and_their_annotations_are_passed_over(tmp_path: Path) -> None:
    slices = scan()
    put(tmp_path, slices, [session(ball(slices))] * 3)
    for modality in ("DX", "CR"):
        radiograph = scan(description="chest", seed=1)[:1]
        radiograph[0].Modality = modality
        write(radiograph, tmp_path / "a" / modality)
        text = radiograph_annotation(radiograph[0].SeriesInstanceUID)
        (tmp_path / "a" / modality / "068.xml").write_text(text)
    (location,) = READER.find(tmp_path)
    assert READER.read(location).has_tumour
    assert not any("X" in path.parent.name or "C" in path.parent.name for path in location.files)


def test_an_annotation_of_a_radiograph_that_names_the_ct_series_is_still_none_of_it(tmp_path: Path) -> None:
    slices = scan()
    put(tmp_path, slices, [session(ball(slices))] * 3)
    (tmp_path / "a/b/068.xml").write_text(radiograph_annotation(slices[0].SeriesInstanceUID))
    assert read(tmp_path).has_tumour


def test_names_of_folders_and_files_say_nothing(tmp_path: Path) -> None:
    first, second = scan("LIDC-IDRI-0001"), scan("LIDC-IDRI-0002", seed=1)
    put(tmp_path, first, [session(ball(first, x=14))] * 3, folder="LIDC-IDRI-0002/CT", xml="tcia-lidc-xml/157/1.xml")
    put(tmp_path, second, [session(ball(second, x=28))] * 3, folder="LIDC-IDRI-0001/CT", xml="LIDC-IDRI-0002/CT/2.XML")
    locations = READER.find(tmp_path)
    assert [location.patient for location in locations] == ["LIDC-IDRI-0001", "LIDC-IDRI-0002"]
    for location, x in zip(locations, (14, 28), strict=True):
        assert READER.read(location).lesions[0].centre[2] == pytest.approx(x)


def test_two_scans_of_a_patient_in_one_folder_have_one_name(tmp_path: Path) -> None:
    first, second = scan(), scan(seed=1)
    put(tmp_path, first, [session(ball(first))] * 4)
    write(second, tmp_path / "a/b", name="second-{:03d}.dcm")
    (tmp_path / "a/b/072.xml").write_text(annotation(second[0].SeriesInstanceUID, [session()] * 4))
    locations = READER.find(tmp_path)
    assert [location.patient for location in locations] == ["LIDC-IDRI-0001"] * 2
    assert [len(location.files) for location in locations] == [9, 9]
    assert sorted(READER.read(location).has_tumour for location in locations) == [False, True]


def test_contours_follow_their_slice_whatever_the_order_of_files_and_instance_numbers(tmp_path: Path) -> None:
    slices = scan()
    mark = nodule(rois(slices, {1: disc_edge(10, 20, 3), 2: disc_edge(20, 20, 3)}))
    for number, dataset in enumerate(reversed(slices)):
        dataset.InstanceNumber = (5 * number) % 8 + 1
    put(tmp_path, slices[::-1], [session(mark)] * 3)
    expected = drawn({1: disc(10, 20, 3, SHAPE[1:]), 2: disc(20, 20, 3, SHAPE[1:])})
    np.testing.assert_array_equal(labels_of(read(tmp_path)), expected)


def test_image_mask_and_centres_are_turned_alike_for_a_patient_lying_prone(tmp_path: Path) -> None:
    slices = scan(orientation=(-1.0, 0.0, 0.0, 0.0, -1.0, 0.0))
    put(tmp_path, slices, [session(ball(slices, x=10, y=15))] * 3)
    patient = read(tmp_path)
    np.testing.assert_array_equal(patient.images[0], body(SHAPE)[:, ::-1, ::-1])
    mask = disc(10, 15, 4, SHAPE[1:])
    np.testing.assert_array_equal(labels_of(patient), drawn({3: mask, 4: mask})[:, ::-1, ::-1])
    z, y, x = np.argwhere(labels_of(patient)).mean(axis=0)
    assert patient.lesions[0].centre == pytest.approx((z, y, x))


def test_slices_stored_from_head_to_foot_are_turned_too(tmp_path: Path) -> None:
    slices = scan(orientation=(1.0, 0.0, 0.0, 0.0, -1.0, 0.0))
    put(tmp_path, slices, [session(nodule(rois(slices, {1: disc_edge(10, 20, 3)})))] * 3)
    patient = read(tmp_path)
    expected = drawn({1: disc(10, 20, 3, SHAPE[1:])})[::-1, ::-1]
    np.testing.assert_array_equal(labels_of(patient), expected)
    assert patient.lesions[0].centre == pytest.approx((6, 19, 10))


def test_a_series_without_an_annotation_is_found_and_refused(tmp_path: Path) -> None:
    first, second = scan("a"), scan("b", seed=1)
    put(tmp_path, first, [session()] * 4, folder="first", xml="1.xml")
    put(tmp_path, second, None, folder="second")
    good, bad = READER.find(tmp_path)
    assert not READER.read(good).has_tumour
    with pytest.raises(BadStudyError, match="no annotation names this CT series"):
        READER.read(bad)


def test_an_annotation_whose_series_is_absent_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    slices = scan()
    put(tmp_path, slices, [session()] * 4)
    (tmp_path / "other.xml").write_text(annotation("1.2.3.4", [session()] * 4))
    with caplog.at_level(logging.INFO):
        assert len(READER.find(tmp_path)) == 1
    assert "1 annotations passed over" in caplog.text


def test_files_that_are_no_annotation_are_passed_over(tmp_path: Path) -> None:
    slices = scan()
    put(tmp_path, slices, [session()] * 4)
    (tmp_path / "._071.xml").write_text("of another system")
    (tmp_path / "broken.xml").write_text("<LidcReadMessage><")
    (tmp_path / "page.xml").write_text("<html/>")
    (tmp_path / "folder.xml").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    (location,) = READER.find(tmp_path)
    assert [path.name for path in location.files if path.suffix == ".xml"] == ["071.xml"]


def test_two_annotations_of_one_series_are_named_unless_they_are_copies(tmp_path: Path) -> None:
    slices = scan()
    put(tmp_path, slices, [session(ball(slices))] * 4)
    copy = tmp_path / "tcia-lidc-xml" / "158.xml"
    copy.parent.mkdir()
    copy.write_bytes((tmp_path / "a/b/071.xml").read_bytes())
    assert read(tmp_path).has_tumour
    copy.write_text(annotation(slices[0].SeriesInstanceUID, [session()] * 4))
    assert reason(tmp_path) == (
        "071.xml and 158.xml both annotate this series and hold different marks; keep one in the site's folder"
    )


def test_copies_of_an_annotation_that_differ_in_names_and_order_alone_count_once(tmp_path: Path) -> None:
    slices = scan()
    far = nodule(rois(slices, {6: disc_edge(30, 10, 3)}), name="far")
    put(tmp_path, slices, [session(ball(slices, name="near"), far), session(ball(slices)), session(far), session()])
    first = tmp_path / "a/b/071.xml"
    copy = tmp_path / "158.xml"
    text = first.read_text()
    copy.write_text(text.replace("<ResponseHeader>", "<ResponseHeader><MessageId>7</MessageId>").replace("near", "x"))
    assert copy.read_bytes() != first.read_bytes()
    expected = labels_of(read(tmp_path, LidcReader(min_readers=2)))
    assert expected[3].any()
    assert expected[6].any()
    other_order = [session(), session(ball(slices)), session(far, ball(slices)), session(far)]
    copy.write_text(annotation(slices[0].SeriesInstanceUID, other_order))
    np.testing.assert_array_equal(labels_of(read(tmp_path, LidcReader(min_readers=2))), expected)


@pytest.mark.parametrize("what", ["rating", "point", "slice", "hole", "reader"])
def test_annotations_that_differ_in_any_mark_are_not_copies(tmp_path: Path, what: str) -> None:
    slices = scan()
    put(tmp_path, slices, [session(ball(slices, malignancy=4))] * 4)
    text = (tmp_path / "a/b/071.xml").read_text()
    uids = [dataset.SOPInstanceUID for dataset in slices]
    changed = {
        "rating": text.replace("<malignancy>4", "<malignancy>2", 1),
        "point": text.replace("<xCoord>16", "<xCoord>17", 1),
        "slice": text.replace(uids[3], uids[2], 1),
        "hole": text.replace("<inclusion>TRUE", "<inclusion>FALSE", 1),
        "reader": annotation(slices[0].SeriesInstanceUID, [session(ball(slices, malignancy=4))] * 3),
    }[what]
    assert changed != text
    (tmp_path / "158.xml").write_text(changed)
    assert "hold different marks; keep one" in reason(tmp_path)


def test_what_readers_marked_that_is_no_tumour_is_told(tmp_path: Path) -> None:
    slices = scan()
    ring = np.array([(30, 10), (31, 10), (31, 11), (30, 11)])
    tiny = session(nodule(rois(slices, {6: ring})))
    put(tmp_path / "disputed", slices, [session(ball(slices))] * 2 + [session()] * 2)
    put(tmp_path / "small", slices, [session(small_nodule(slices, 3, 16, 22))] * 4)
    put(tmp_path / "tiny", slices, [tiny] * 4)
    put(tmp_path / "agreed", slices, [session(ball(slices))] * 4)
    told = {
        name: [one.what for one in read(tmp_path / name).remarks] for name in ("disputed", "small", "tiny", "agreed")
    }
    assert told == {
        "disputed": ["a nodule that fewer than 3 readers outlined"],
        "small": ["a nodule under 3 mm, marked by a point"],
        "tiny": ["a nodule in whose outlines readers agree on no pixel"],
        "agreed": [],
    }


def test_a_scan_that_names_no_series_is_refused_for_that_reason(tmp_path: Path) -> None:
    slices, named = scan(patient=""), scan(patient="named", seed=1)
    for dataset in slices:
        dataset.SeriesInstanceUID = dataset.StudyInstanceUID = ""
    put(tmp_path, slices, None, folder="without")
    put(tmp_path, named, [session()] * 4, folder="with")
    without, _ = READER.find(tmp_path)
    assert without.patient == str(tmp_path / "without")
    with pytest.raises(BadStudyError, match="SeriesInstanceUID is missing"):
        READER.read(without)


def test_an_annotation_of_slices_that_the_series_does_not_have_is_refused(tmp_path: Path) -> None:
    slices = scan()
    put(tmp_path, slices[:-1], [session(nodule(rois(slices, {7: disc_edge(16, 22, 4)})))] * 3)
    assert reason(tmp_path) == "the annotation outlines a nodule on a slice that is not in the series"


def test_a_file_that_was_replaced_by_another_series_annotation_is_refused(tmp_path: Path) -> None:
    slices = scan()
    put(tmp_path, slices, [session()] * 3)
    (location,) = READER.find(tmp_path)
    (tmp_path / "a/b/071.xml").write_text(annotation("1.2.3", [session()] * 3))
    with pytest.raises(BadStudyError, match="names another series"):
        READER.read(location)


def test_slices_that_share_a_uid_are_refused_because_an_outline_has_no_place(tmp_path: Path) -> None:
    slices = scan()
    multi_frame = enhanced(slices)
    write([multi_frame], tmp_path)
    (tmp_path / "1.xml").write_text(annotation(multi_frame.SeriesInstanceUID, [session()] * 4))
    assert reason(tmp_path) == "several slices have one SOPInstanceUID, so that outlines have no place"


@pytest.mark.parametrize("spoil", ["truncate", "remove"])
def test_a_damaged_annotation_is_refused_with_its_name(tmp_path: Path, spoil: str) -> None:
    slices = scan()
    put(tmp_path, slices, [session(ball(slices))] * 3)
    (location,) = READER.find(tmp_path)
    path = tmp_path / "a/b/071.xml"
    path.write_bytes(path.read_bytes()[:-300]) if spoil == "truncate" else path.unlink()
    with pytest.raises(BadStudyError, match=r"071\.xml: cannot be read"):
        READER.read(location)


def test_a_damaged_slice_makes_a_bad_study(tmp_path: Path) -> None:
    slices = scan()
    put(tmp_path, slices, [session(ball(slices))] * 3)
    path = tmp_path / "a/b/003.dcm"
    path.write_bytes(path.read_bytes()[:-1000])
    reason(tmp_path)


def test_a_scan_without_a_patient_id_stands_for_itself(tmp_path: Path) -> None:
    slices = scan("")
    put(tmp_path, slices, [session()] * 4)
    (location,) = READER.find(tmp_path)
    assert location.patient == slices[0].SeriesInstanceUID
    assert not location.patient_known


def test_find_reads_no_pixels_and_only_the_start_of_annotations(tmp_path: Path) -> None:
    slices = scan()
    put(tmp_path, slices, [session(ball(slices))] * 3)
    for path in (tmp_path / "a/b").iterdir():
        cut = 1500 if path.suffix == ".dcm" else 800
        path.write_bytes(path.read_bytes()[:cut])
    (location,) = READER.find(tmp_path)
    assert len(location.files) == len(slices) + 1


def test_a_folder_of_nothing_useful_says_what_to_change(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist; set the site's path"):
        READER.find(tmp_path / "nowhere")
    with pytest.raises(DataError, match="no CT series in"):
        READER.find(tmp_path)
    put(tmp_path, scan(), None)
    with pytest.raises(DataError, match=r"none of 1 CT series .* put the XML files of LIDC-IDRI into that folder"):
        READER.find(tmp_path)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"organ": "brain"}, "organ is 'brain'"),
        ({"contrasts": ("t1",)}, "ct alone"),
        ({"min_readers": 0}, "min_readers is 0"),
        ({"min_readers": 5}, "min_readers is 5"),
        ({"min_readers": True}, "min_readers is True"),
        ({"min_readers": "3"}, "min_readers is '3'"),
        ({"agreement": 0}, "agreement is 0"),
        ({"agreement": 1.5}, "agreement is 1.5"),
        ({"agreement": "half"}, "agreement is 'half'"),
    ],
)
def test_an_option_that_lidc_does_not_have_is_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        LidcReader(**options)


def test_the_registry_builds_it_with_its_options() -> None:
    built = build_reader("lidc", organ="lung", contrasts=["ct"], options={"min_readers": 2, "agreement": 0.75})
    assert built == LidcReader(min_readers=2, agreement=0.75)
