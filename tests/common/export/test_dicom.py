import shutil
import subprocess
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
import SimpleITK
from highdicom import _standard_utils as standard
from pydicom import Dataset
from pydicom.sr.codedict import codes

from common.export.manifest import Content, Manifest
from common.export.segmentation import SEGMENTS
from common.export.synthetic import SyntheticSet, write_synthetic_set
from common.imaging.deidentification import fields_to_review, identifying_fields
from common.imaging.names import ORGANS
from common.imaging.patient import LESION_LABELS

Make = Callable[..., SyntheticSet]
Written = tuple[Path, SyntheticSet, Manifest]


def objects_below(folder: Path) -> list[Dataset]:
    return [pydicom.dcmread(path) for path in sorted(folder.rglob("*.dcm"))]


@pytest.fixture(scope="module", params=[("lung", Content.GENERATED), ("liver", Content.ALTERED)])
def other_organ(request: pytest.FixtureRequest, make_set: Make, tmp_path_factory: pytest.TempPathFactory) -> Path:
    organ, content = request.param
    folder = tmp_path_factory.mktemp("export") / organ
    synthetic = make_set(1, organ=organ, contrasts=("ct",), content=content)
    write_synthetic_set(folder, synthetic, ["dicom"], altered_allowed=True)
    return folder


# ---------------------------------------------------------------------------------------------- images


def test_pydicom_and_simpleitk_read_the_grey_values_back(written: Written) -> None:
    folder, synthetic, manifest = written
    for image, grey in zip(manifest.images, synthetic.images, strict=True):
        for contrast, channel in zip(synthetic.contrasts, grey, strict=True):
            path = folder / image.dicom[contrast].path
            expected = np.rint(channel.astype(np.float64) * 65535)
            assert np.array_equal(pydicom.dcmread(path).pixel_array, expected)
            assert np.array_equal(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))[0], expected)


def test_every_object_says_that_it_is_synthetic(written: Written) -> None:
    for dataset in objects_below(written[0]):
        assert dataset.SyntheticData == "YES"
        assert dataset.ImageType[0] == "DERIVED"
        assert dataset.PatientID.startswith("SYNTHETIC-")
        assert str(dataset.PatientName) == f"{dataset.PatientID}^"
        assert dataset.StudyDescription == "SYNTHETIC, no patient"
        assert dataset.SeriesDescription.startswith("SYNTHETIC brain")
        (network,) = dataset.ContributingEquipmentSequence
        assert network.PurposeOfReferenceCodeSequence[0].CodeValue == codes.DCM.SynthesizingEquipment.value
        assert "made as a whole by a generative network" in network.ContributionDescription


def test_an_image_is_a_secondary_capture_that_was_synthesised(written: Written) -> None:
    image = pydicom.dcmread(written[0] / "dicom" / "000001_flair.dcm")
    assert image.SOPClassUID == pydicom.uid.SecondaryCaptureImageStorage
    assert (image.ConversionType, image.Modality, image.BurnedInAnnotation) == ("SYN", "OT", "NO")
    assert "run demo, round 3" in image.DerivationDescription
    assert "stored value / 65535" in image.DerivationDescription


def test_images_made_on_patients_do_not_claim_to_show_none(tmp_path: Path, make_set: Make) -> None:
    write_synthetic_set(tmp_path / "set", make_set(1, content=Content.ALTERED), ["dicom"], altered_allowed=True)
    for dataset in objects_below(tmp_path / "set"):
        assert dataset.StudyDescription == "SYNTHETIC, made on a patient's image"
        assert "changed an image of a patient" in dataset.ContributingEquipmentSequence[0].ContributionDescription


def test_no_distance_or_place_is_invented(written: Written) -> None:
    invented = ("PixelSpacing", "NominalScannedPixelSpacing", "ImagePositionPatient", "FrameOfReferenceUID")
    for dataset in objects_below(written[0]):
        keywords = {element.keyword for element in dataset.iterall()}
        assert not keywords & {*invented, "SliceThickness", "ImageOrientationPatient", "PixelMeasuresSequence"}


def test_a_contrast_is_a_series_and_the_set_one_study(written: Written) -> None:
    folder, synthetic, _ = written
    images = objects_below(folder / "dicom")
    series = {(one.SeriesDescription, one.SeriesInstanceUID, one.SeriesNumber) for one in images}
    assert len(series) == len(synthetic.contrasts)
    everything = objects_below(folder)
    assert len({one.StudyInstanceUID for one in everything}) == 1
    assert len({one.SOPInstanceUID for one in everything}) == len(everything)
    assert all(one.file_meta.MediaStorageSOPInstanceUID == one.SOPInstanceUID for one in everything)
    assert all(pydicom.uid.UID(one.SOPInstanceUID).is_valid for one in everything)


# ---------------------------------------------------------------------------------------------- segmentations


def test_highdicom_reads_the_masks_back_on_the_image_they_refer_to(written: Written) -> None:
    folder, synthetic, manifest = written
    image, labels = manifest.images[0], synthetic.labels[0]
    segments = hd.seg.segread(folder / image.segmentation.path)
    lies_on = pydicom.dcmread(folder / image.dicom["flair"].path)
    assert segments.get_source_image_uids() == [
        (lies_on.StudyInstanceUID, lies_on.SeriesInstanceUID, lies_on.SOPInstanceUID)
    ]
    masks = segments.get_pixels_by_source_instance([lies_on.SOPInstanceUID])[0]
    assert np.array_equal(masks, np.stack([labels == value for value in LESION_LABELS], axis=-1))


def test_simpleitk_reads_the_frames_of_a_segmentation(written: Written) -> None:
    folder, synthetic, manifest = written
    path = folder / manifest.images[0].segmentation.path
    frames = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
    expected = np.stack([synthetic.labels[0] == value for value in LESION_LABELS])
    assert np.array_equal(frames > 0, expected)


def test_a_label_that_does_not_occur_has_no_frame_but_stays_described(tmp_path: Path, make_set: Make) -> None:
    synthetic = make_set(1)
    synthetic.labels[synthetic.labels == 2] = 4
    write_synthetic_set(tmp_path / "set", synthetic, ["dicom"])
    segments = hd.seg.segread(tmp_path / "set" / "segmentation" / "000001.dcm")
    assert (segments.number_of_segments, segments.NumberOfFrames) == (3, 2)
    (source,) = segments.get_source_image_uids()
    masks = segments.get_pixels_by_source_instance([source[2]])[0]
    assert np.array_equal(masks[..., 2], synthetic.labels[0] == 4)
    assert not masks[..., 1].any()


def test_segments_are_named_in_words_and_by_codes_of_the_standard(written: Written) -> None:
    segments = hd.seg.segread(written[0] / "segmentation" / "000001.dcm")
    said = [
        (one.SegmentLabel, one.SegmentedPropertyTypeCodeSequence[0].CodeMeaning) for one in segments.SegmentSequence
    ]
    assert said == [
        ("necrotic tumour core (label 1)", "Necrosis"),
        ("oedema (label 2)", "Edema"),
        ("enhancing tumour (label 4)", "Enhancing Lesion"),
    ]
    allowed = codes.cid7151.concepts.values()
    for organ in ORGANS:
        assert all(segment.code in allowed for segment in SEGMENTS[organ].values())


# ---------------------------------------------------------------------------------------------- validity


def test_the_check_of_identity_finds_nothing(written: Written, other_organ: Path) -> None:
    own_words = {"ContentDate", "ContributionDescription", "DerivationDescription", "SeriesDescription"}
    for dataset in objects_below(written[0]) + objects_below(other_organ):
        assert identifying_fields(dataset) == ()
        assert set(fields_to_review(dataset)) <= own_words | {"StudyDescription"}


def modules_of(dataset: Dataset) -> dict[str, str]:
    """Module -> usage (M, C or U) of the object's kind, from the standard's tables."""
    kind = standard.get_sop_class_iod_map()[dataset.SOPClassUID]
    return {module["key"]: module["usage"] for module in standard.get_iod_module_map()[kind]}


def items_at(dataset: Dataset, path: list[str]) -> Iterator[Dataset]:
    if not path:
        yield dataset
        return
    for item in dataset.get(path[0]) or ():
        yield from items_at(item, path[1:])


FUNCTIONAL_GROUPS = (["SharedFunctionalGroupsSequence"], ["PerFrameFunctionalGroupsSequence"])
"""Each macro is optional here or stands in one of the two; what a macro holds is checked where it is."""


def problems_of(dataset: Dataset) -> list[str]:
    """Attributes of Type 1 or 2 that are missing from mandatory modules, Type 1 ones that are empty, and attributes
    that the kind of object does not have."""
    table, usages = standard.get_module_attribute_map(), modules_of(dataset)
    found = []
    for module in (name for name, usage in usages.items() if usage == "M"):
        for attribute in table[module]:
            keyword, kind = attribute["keyword"], attribute["type"]
            if attribute["path"] in FUNCTIONAL_GROUPS:
                continue
            for item in items_at(dataset, attribute["path"]):
                if kind in ("1", "2") and keyword not in item:
                    found.append(f"{module}: {keyword} is missing")
                elif kind in ("1", "1C") and keyword in item and item[keyword].is_empty:
                    found.append(f"{module}: {keyword} is empty")
    known = {attribute["keyword"] for module in usages for attribute in table[module] if not attribute["path"]}
    return found + [f"{one.keyword} does not belong here" for one in dataset if one.keyword not in known]


def test_every_object_has_what_the_standard_requires_of_its_kind(written: Written, other_organ: Path) -> None:
    for dataset in objects_below(written[0]) + objects_below(other_organ):
        assert problems_of(dataset) == []


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda one: delattr(one, "ConversionType"), "sc-equipment: ConversionType is missing"),
        (lambda one: setattr(one, "SOPInstanceUID", ""), "sop-common: SOPInstanceUID is empty"),
        (lambda one: delattr(one, "StudyDate"), "general-study: StudyDate is missing"),
        (lambda one: setattr(one, "RepetitionTime", 5), "RepetitionTime does not belong here"),
    ],
)
def test_the_check_against_the_standard_sees_what_is_wrong(written: Written, spoil, problem: str) -> None:
    image = pydicom.dcmread(written[0] / "dicom" / "000001_flair.dcm")
    spoil(image)
    assert problem in problems_of(image)


def test_values_obey_their_types(written: Written) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for path in sorted(written[0].rglob("*.dcm")):
            dataset = pydicom.dcmread(path)
            for element in dataset.iterall():
                pydicom.dataelem.DataElement(
                    element.tag, element.VR, element.value, validation_mode=pydicom.config.RAISE
                )


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy is not installed (Debian: dicom3tools)")
def test_dciodvfy_finds_no_error(written: Written, other_organ: Path) -> None:
    """SyntheticData (0008,001C) is newer than the tables of many builds."""
    for path in [*sorted(written[0].rglob("*.dcm")), *sorted(other_organ.rglob("*.dcm"))]:
        said = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
        errors = [line for line in (said.stdout + said.stderr).splitlines() if line.startswith("Error")]
        assert [line for line in errors if "(0x0008,0x001c)" not in line] == []
