"""Studies laid out as HCC-TACE-Seg has them: several phases, one of them outlined."""

from pathlib import Path

import highdicom as hd
import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from dicom_files import body, ct_series, segmentation, write
from pydicom import Dataset
from pydicom.uid import generate_uid

from common.errors import BadStudyError, ConfigError, DataError
from common.imaging.readers.hcc_tace import HccTaceReader
from common.imaging.readers.reader import Reader
from common.imaging.remarks import Question, Remark

SHAPE = (8, 32, 40)


def box(z: slice, y: slice, x: slice) -> npt.NDArray[np.uint8]:
    mask = np.zeros(SHAPE, np.uint8)
    mask[z, y, x] = 1
    return mask


SEGMENTS = {
    "Liver": box(slice(1, 7), slice(4, 24), slice(6, 30)),
    "Mass": box(slice(3, 5), slice(8, 15), slice(26, 33)),  # grows out of the liver
    "Portal vein": box(slice(2, 6), slice(10, 13), slice(12, 15)),
    "Abdominal aorta": box(slice(0, 8), slice(27, 30), slice(18, 22)),
}
EVERY_LIVER_VOXEL = SEGMENTS["Liver"] | SEGMENTS["Mass"]


def write_study(
    root: Path,
    patient: str = "HCC_001",
    segments: dict[str, npt.NDArray[np.uint8]] | None = None,
    *,
    folder: str = "study",
    phases: int = 2,
) -> tuple[list[Dataset], Dataset]:
    """Phases of one study and the SEG of the last; folder names say nothing, as in the archive."""
    study, space = generate_uid(), generate_uid()
    drawn_on: list[Dataset] = []
    for phase in range(phases):
        drawn_on = list(
            ct_series(
                body(SHAPE, seed=phase),
                patient=patient,
                study=study,
                frame_of_reference=space,
                description=f"phase {phase}",
            )
        )
        write(drawn_on, root / patient / folder / str(generate_uid())[-8:], "1-{:02d}.dcm")
    outline = segmentation(drawn_on, SEGMENTS if segments is None else segments)
    write([outline], root / patient / folder / "seg", "1-{}.dcm")
    return drawn_on, outline


def reading(root: Path) -> str:
    """Why the one study below ``root`` is refused."""
    [location] = HccTaceReader().find(root)
    with pytest.raises(BadStudyError) as caught:
        HccTaceReader().read(location)
    return caught.value.reason


def test_the_phase_that_was_outlined_is_read_with_its_masses(tmp_path: Path) -> None:
    write_study(tmp_path)
    reader: Reader = HccTaceReader()
    [location] = reader.find(tmp_path)
    patient = reader.read(location)
    assert patient.patient == "HCC_001"
    assert (patient.organ, patient.contrasts, patient.modality) == ("liver", ("ct",), "CT")
    np.testing.assert_array_equal(patient.images[0], body(SHAPE, seed=1))
    np.testing.assert_array_equal(patient.labels, SEGMENTS["Mass"])
    np.testing.assert_array_equal(patient.organ_mask, EVERY_LIVER_VOXEL)
    assert patient.spacing == pytest.approx((2.5, 0.8, 0.8))
    assert patient.labels is not None
    assert patient.labels.dtype == np.uint8
    assert patient.has_tumour


def test_masks_are_where_highdicom_puts_them(tmp_path: Path) -> None:
    write_study(tmp_path, phases=1)
    [location] = HccTaceReader().find(tmp_path)
    patient = HccTaceReader().read(location)
    segmented = hd.seg.segread(location.files[-1])
    slices = [pydicom.dcmread(path) for path in location.files[:-1]]
    grid = hd.get_volume_from_series(slices)
    theirs = segmented.get_volume(combine_segments=False).match_geometry(grid).array
    ascending = theirs if grid.affine[2, 0] > 0 else theirs[::-1]
    np.testing.assert_array_equal(patient.labels, ascending[..., 1])
    np.testing.assert_array_equal(patient.organ_mask, ascending[..., 0] | ascending[..., 1])


def test_a_study_has_exactly_its_own_files(tmp_path: Path) -> None:
    drawn_on, _ = write_study(tmp_path)
    write_study(tmp_path, "HCC_002")
    locations = HccTaceReader().find(tmp_path)
    assert [location.patient for location in locations] == ["HCC_001", "HCC_002"]
    uids = {pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID for path in locations[0].files}
    assert {dataset.SOPInstanceUID for dataset in drawn_on} < uids
    assert len(locations[0].files) == len(uids) == 9


def test_several_studies_of_one_patient_have_one_name(tmp_path: Path) -> None:
    write_study(tmp_path, folder="before")
    write_study(tmp_path, folder="after")
    locations = HccTaceReader().find(tmp_path)
    assert [location.patient for location in locations] == ["HCC_001", "HCC_001"]
    assert not set(locations[0].files) & set(locations[1].files)


def test_a_copy_of_a_segmentation_is_no_second_study(tmp_path: Path) -> None:
    _, outline = write_study(tmp_path)
    write([outline], tmp_path / "backup")
    assert len(HccTaceReader().find(tmp_path)) == 1


def test_a_liver_without_a_mass_is_a_patient_without_a_tumour(tmp_path: Path) -> None:
    write_study(tmp_path, segments={"LIVER": SEGMENTS["Liver"]})
    [location] = HccTaceReader().find(tmp_path)
    patient = HccTaceReader().read(location)
    assert not patient.has_tumour
    assert patient.labels is not None
    np.testing.assert_array_equal(patient.organ_mask, SEGMENTS["Liver"])


def test_a_mass_without_a_liver_has_no_organ_mask(tmp_path: Path) -> None:
    write_study(tmp_path, segments={"mass": SEGMENTS["Mass"]})
    [location] = HccTaceReader().find(tmp_path)
    patient = HccTaceReader().read(location)
    assert patient.has_tumour
    assert patient.organ_mask is None


def test_a_segmentation_of_something_else_is_refused(tmp_path: Path) -> None:
    write_study(tmp_path, segments={"Portal vein": SEGMENTS["Liver"]})
    assert reading(tmp_path).startswith("1-0.dcm: outlines portal vein, neither a tumour nor the organ")


@pytest.mark.parametrize("name", ["Tumor", "HCC", "Mass_1", "Lesion", "masses"])
def test_a_segment_of_which_nobody_has_said_what_it_is_is_asked_for(tmp_path: Path, name: str) -> None:
    write_study(tmp_path, segments={"Liver": SEGMENTS["Liver"], name: SEGMENTS["Mass"]})
    [location] = HccTaceReader().find(tmp_path)
    patient = HccTaceReader().read(location)
    assert patient.questions == (Question(name.casefold(), ("tumour_segments", "other_segments")),)
    answered = HccTaceReader(tumour_segments=(name,)).read(location)
    np.testing.assert_array_equal(answered.labels, SEGMENTS["Mass"])
    assert answered.questions == ()


def test_an_empty_mass_is_asked_for(tmp_path: Path) -> None:
    write_study(tmp_path, segments={"Liver": SEGMENTS["Liver"], "Mass": SEGMENTS["Mass"] * 0})
    [location] = HccTaceReader().find(tmp_path)
    assert HccTaceReader().read(location).questions == (Question("mass", ("empty_segments",)),)
    answered = HccTaceReader(empty_segments=("mass",)).read(location)
    assert (answered.questions, answered.has_tumour) == ((), False)


def test_names_that_a_site_adds_leave_those_of_the_collection_as_they_are(tmp_path: Path) -> None:
    """The lines that answer a question hold the new names alone."""
    write_study(tmp_path, segments={**SEGMENTS, "Spleen": SEGMENTS["Liver"]})
    [location] = HccTaceReader().find(tmp_path)
    assert HccTaceReader().read(location).remarks == (Remark("outline", "spleen"),)
    answered = HccTaceReader(other_segments=("spleen",)).read(location)
    assert answered.remarks == ()
    np.testing.assert_array_equal(answered.labels, SEGMENTS["Mass"])
    assert not HccTaceReader(tumour_segments=("hcc",), other_segments=("mass",)).read(location).has_tumour


def test_two_segmentations_of_one_series_are_one_study(tmp_path: Path) -> None:
    """Each for itself, the one of the liver would make a healthy patient of the images with the mass."""
    drawn_on, _ = write_study(tmp_path, segments={"Liver": SEGMENTS["Liver"]})
    write([segmentation(drawn_on, {"Mass": SEGMENTS["Mass"]})], tmp_path / "second")
    [location] = HccTaceReader().find(tmp_path)
    np.testing.assert_array_equal(HccTaceReader().read(location).labels, SEGMENTS["Mass"])


def test_a_study_without_a_segmentation_says_so(tmp_path: Path) -> None:
    write_study(tmp_path)
    for path in (tmp_path / "HCC_001" / "study" / "seg").iterdir():
        path.unlink()
    assert reading(tmp_path) == "no segmentation refers to any of its 2 series"


def test_a_segmentation_of_a_missing_series_says_so(tmp_path: Path) -> None:
    drawn_on, _ = write_study(tmp_path)
    other = ct_series(body(SHAPE), patient="HCC_001", study=drawn_on[0].StudyInstanceUID)
    write([segmentation(other, SEGMENTS)], tmp_path / "HCC_001" / "study" / "seg", "1-{}.dcm")
    assert reading(tmp_path) == "1-0.dcm: the series that it was drawn on is not here, or it does not say which one"


def without_a_named_series(outline: Dataset, *, without_images: bool) -> None:
    del outline.ReferencedSeriesSequence
    if without_images:
        for group in outline.PerFrameFunctionalGroupsSequence:
            del group.DerivationImageSequence


@pytest.mark.parametrize("phases", [1, 2])
def test_a_segmentation_that_names_no_series_is_matched_by_its_images(tmp_path: Path, phases: int) -> None:
    _, outline = write_study(tmp_path, phases=phases)
    without_a_named_series(outline, without_images=False)
    write([outline], tmp_path / "HCC_001" / "study" / "seg", "1-{}.dcm")
    [location] = HccTaceReader().find(tmp_path)
    np.testing.assert_array_equal(HccTaceReader().read(location).images[0], body(SHAPE, seed=phases - 1))


def test_a_segmentation_that_names_nothing_is_matched_by_its_space_if_one_series_fits(tmp_path: Path) -> None:
    for root, phases in ((tmp_path / "one", 1), (tmp_path / "two", 2)):
        _, outline = write_study(root, phases=phases)
        without_a_named_series(outline, without_images=True)
        write([outline], root / "HCC_001" / "study" / "seg", "1-{}.dcm")
    [location] = HccTaceReader().find(tmp_path / "one")
    assert HccTaceReader().read(location).has_tumour
    assert "does not say which one" in reading(tmp_path / "two")


def test_a_mask_chooses_among_the_acquisitions_of_its_series(tmp_path: Path) -> None:
    late = ct_series(body(SHAPE, seed=5))
    early = ct_series(body(SHAPE, seed=6), series=late[0].SeriesInstanceUID, study=late[0].StudyInstanceUID)
    for dataset in early:
        dataset.AcquisitionNumber = 2
        dataset.FrameOfReferenceUID = late[0].FrameOfReferenceUID
    write([*early, *late, segmentation(late, SEGMENTS)], tmp_path)
    [location] = HccTaceReader().find(tmp_path)
    np.testing.assert_array_equal(HccTaceReader().read(location).images[0], body(SHAPE, seed=5))


def test_what_identifies_the_person_is_named_for_images_and_segmentation(tmp_path: Path) -> None:
    _, outline = write_study(tmp_path)
    [location] = HccTaceReader().find(tmp_path)
    assert "PatientTelephoneNumbers" not in HccTaceReader().read(location).identifying
    outline.PatientTelephoneNumbers = "0123 456789"
    write([outline], tmp_path / "HCC_001" / "study" / "seg", "1-{}.dcm")
    assert "PatientTelephoneNumbers" in HccTaceReader().read(location).identifying


def test_a_patient_without_an_id_stands_for_its_study(tmp_path: Path) -> None:
    drawn_on, _ = write_study(tmp_path, patient="")
    [location] = HccTaceReader().find(tmp_path)
    assert location.patient == drawn_on[0].StudyInstanceUID
    assert not location.patient_known


def test_a_folder_without_ct_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        HccTaceReader().find(tmp_path / "nowhere")
    with pytest.raises(DataError, match="found no DICOM series at all"):
        HccTaceReader().find(tmp_path)
    write(ct_series(np.abs(body(SHAPE)), modality="MR"), tmp_path)
    with pytest.raises(DataError, match=r"no CT series .* found only MR"):
        HccTaceReader().find(tmp_path)


def test_another_organ_or_contrast_is_refused() -> None:
    with pytest.raises(ConfigError, match="write organ: liver"):
        HccTaceReader(organ="lung")
    with pytest.raises(ConfigError, match="it has ct alone"):
        HccTaceReader(contrasts=("t1",))
    with pytest.raises(ConfigError, match="reader hcc_tace: mass stands in tumour_segments and in other_segments"):
        HccTaceReader(tumour_segments=("Mass",), other_segments=("mass",))
