"""A series becomes a volume whose values and place other libraries confirm."""

import copy
import warnings
from collections.abc import Callable
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
import SimpleITK
from dicom_files import CORONAL, SAGITTAL, body, ct_series, enhanced, set_stored, write
from monai.transforms import LoadImage
from pydicom import Dataset
from pydicom.pixels.utils import compress
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless, generate_uid

from common.errors import BadStudyError
from common.imaging.dicom.volume import DicomVolume, load_volume
from common.imaging.remarks import Remark

REAL_CT = Path(__file__).parents[5] / "shared" / "data" / "dicom_seg"


def read_by_simpleitk(folder: Path) -> SimpleITK.Image:
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


def assert_is_what_simpleitk_reads(volume: DicomVolume, image: SimpleITK.Image) -> None:
    values = np.maximum(SimpleITK.GetArrayFromImage(image), -1024)
    assert np.abs(values - volume.voxels).max() < 1e-3
    assert volume.spacing[::-1] == pytest.approx(image.GetSpacing())
    for index in ((0, 0, 0), (3, 5, 1), (image.GetWidth() - 1, 2, image.GetDepth() - 1)):
        place = volume.affine @ [*index, 1]
        assert place[:3] == pytest.approx(image.TransformIndexToPhysicalPoint(index), abs=1e-4)


@pytest.mark.parametrize("orientation", [(1, 0, 0, 0, 1, 0), SAGITTAL, CORONAL, (0.96, 0.28, 0, -0.28, 0.96, 0)])
def test_values_and_geometry_are_those_of_simpleitk(tmp_path: Path, orientation: tuple[float, ...]) -> None:
    files = write(ct_series(body(), orientation=orientation), tmp_path)
    assert_is_what_simpleitk_reads(load_volume(files), read_by_simpleitk(tmp_path))


def test_values_and_geometry_are_those_of_monai(tmp_path: Path) -> None:
    volume = load_volume(write(ct_series(body(), orientation=SAGITTAL), tmp_path))
    image = LoadImage(reader="PydicomReader", image_only=True)(tmp_path)
    values = np.asarray(image)
    affine = np.diag([-1, -1, 1, 1]) @ np.asarray(image.affine)  # MONAI counts in RAS, with axes (x, y, z).
    assert values.shape == volume.voxels.shape[::-1]
    for x, y, z in ((0, 0, 0), (7, 9, 2), (39, 31, 7)):
        there = np.linalg.inv(affine) @ volume.affine @ [x, y, z, 1]
        assert there[:3] == pytest.approx(np.round(there[:3]), abs=1e-4)
        i, j, k = (round(value) for value in there[:3])
        assert values[i, j, k] == volume.voxels[z, y, x]


def test_real_slices_are_read_as_simpleitk_reads_them() -> None:
    if not REAL_CT.is_dir():
        pytest.skip("the real CT slices are not on this machine")
    files = sorted(REAL_CT.glob("0?.dcm"))
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(files[::-1])  # they descend
    volume = load_volume(files)
    assert_is_what_simpleitk_reads(volume, reader.Execute())
    assert volume.spacing == pytest.approx((1.0, 0.810547, 0.810547))
    assert "private tags" in volume.identifying


def test_neither_names_nor_instance_numbers_nor_the_order_of_files_matter(tmp_path: Path) -> None:
    hu = body()
    slices = ct_series(hu)
    for dataset, number in zip(slices, (5, 1, 8, 2, 2, 7, 3, 4), strict=True):
        dataset.InstanceNumber = number
    files = write(slices, tmp_path)
    np.testing.assert_array_equal(load_volume(files[::-1]).voxels, np.maximum(hu, -1024))


def test_a_series_that_was_stored_from_head_to_feet_ascends(tmp_path: Path) -> None:
    hu = body()
    volume = load_volume(write(ct_series(hu)[::-1], tmp_path))
    np.testing.assert_array_equal(volume.voxels, hu)
    assert volume.affine[2, 2] == 2.5


def test_each_slice_has_its_own_slope_and_intercept(tmp_path: Path) -> None:
    hu = body()
    slices = ct_series(hu)
    slices[2].RescaleSlope, slices[2].RescaleIntercept = 2, -500
    expected = hu.astype(np.float32)
    expected[2] = np.maximum((expected[2] + 1024) * 2 - 500, -1024)
    np.testing.assert_array_equal(load_volume(write(slices, tmp_path)).voxels, expected)


def test_sop_uids_follow_the_slices(tmp_path: Path) -> None:
    slices = ct_series(body())
    volume = load_volume(write(slices[::-1], tmp_path))
    assert volume.sop_uids == tuple(dataset.SOPInstanceUID for dataset in slices)
    assert (volume.series_uid, volume.modality, volume.patient) == (slices[0].SeriesInstanceUID, "CT", "patient-1")


def test_padding_becomes_air_before_values_are_rescaled(tmp_path: Path) -> None:
    hu = body()
    slices = ct_series(hu)
    for dataset, values in zip(slices, hu, strict=True):
        dataset.add_new("PixelPaddingValue", "US", 4000)  # 2976 HU, were it not padding
        stored = values + 1024
        stored[:4] = 4000
        set_stored(dataset, stored)
    volume = load_volume(write(slices, tmp_path))
    assert (volume.voxels[:, :4] == -1024).all()
    np.testing.assert_array_equal(volume.voxels[:, 4:], hu[:, 4:])


def test_padding_of_the_other_sign_and_as_a_range_is_known(tmp_path: Path) -> None:
    slices = ct_series(body(), intercept=0)
    for dataset in slices:
        dataset.PixelRepresentation = 1
        dataset.BitsStored, dataset.HighBit = 16, 15
        dataset.add_new("PixelPaddingValue", "US", 63536)  # -2000 as a signed number
        dataset.add_new("PixelPaddingRangeLimit", "US", 63546)
        stored = np.full((32, 40), 30)
        stored[:4], stored[4:8], stored[8:12] = -2000, -1995, -900
        set_stored(dataset, stored)
    volume = load_volume(write(slices, tmp_path))
    assert (volume.voxels[:, :8] == -1024).all()
    assert (volume.voxels[:, 8:12] == -900).all()
    assert (volume.voxels[:, 12:] == 30).all()


def test_nothing_is_below_minus_1024(tmp_path: Path) -> None:
    hu = body()
    hu[:, :3] = -3000
    volume = load_volume(write(ct_series(hu, intercept=-3024), tmp_path))
    assert volume.voxels.min() == -1024
    np.testing.assert_array_equal(volume.voxels[:, 3:], hu[:, 3:])


def test_monochrome1_is_turned_over_as_simpleitk_does(tmp_path: Path) -> None:
    hu = body()
    slices = ct_series(hu)
    for dataset, values in zip(slices, hu, strict=True):
        dataset.PhotometricInterpretation = "MONOCHROME1"
        set_stored(dataset, 4095 - (values + 1024))
    volume = load_volume(write(slices, tmp_path))
    np.testing.assert_array_equal(volume.voxels, hu)
    assert_is_what_simpleitk_reads(volume, read_by_simpleitk(tmp_path))


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_compressed_slices_equal_plain_ones(tmp_path: Path, syntax: str) -> None:
    slices = ct_series(body())
    plain = load_volume(write(slices, tmp_path / "plain"))
    for dataset in slices:
        compress(dataset, syntax, generate_instance_uid=False)
    volume = load_volume(write(slices, tmp_path / "compressed"))
    np.testing.assert_array_equal(volume.voxels, plain.voxels)


def test_files_without_preamble_and_meta_group_are_read(tmp_path: Path) -> None:
    hu = body()
    files = write(ct_series(hu), tmp_path)
    for path in files:
        stored = path.read_bytes()
        path.write_bytes(stored[stored.index(b"\x08\x00\x08\x00CS") :])
    np.testing.assert_array_equal(load_volume(files).voxels, hu)


@pytest.mark.parametrize("orientation", [(1, 0, 0, 0, 1, 0), SAGITTAL])
def test_an_enhanced_multi_frame_file_equals_its_slices_and_highdicoms_volume(
    tmp_path: Path, orientation: tuple[float, ...]
) -> None:
    slices = ct_series(body(), orientation=orientation)
    slices[1].RescaleSlope = 3
    plain = load_volume(write(slices, tmp_path / "plain"))
    [path] = write([enhanced(slices)], tmp_path / "enhanced")
    volume = load_volume([path])
    np.testing.assert_array_equal(volume.voxels, plain.voxels)
    np.testing.assert_allclose(volume.affine, plain.affine, atol=1e-6)
    theirs = hd.imread(path).get_volume()
    ours = hd.Volume(volume.voxels, volume.affine[:, [2, 1, 0, 3]], "PATIENT", volume.frame_of_reference)
    np.testing.assert_allclose(theirs.match_geometry(ours).array, np.asarray(plain.voxels), atol=1e-3)
    assert len(set(volume.sop_uids)) == 1
    assert len(volume.sop_uids) == 8


def test_what_identifies_the_person_is_told_for_every_kind_of_file(tmp_path: Path) -> None:
    slices = ct_series(body())
    slices[5].PatientTelephoneNumbers = "0123 456789"
    converted = enhanced(slices)
    converted.PatientTelephoneNumbers = "0123 456789"
    for name, datasets in (("plain", slices), ("enhanced", [converted])):
        assert "PatientTelephoneNumbers" in load_volume(write(datasets, tmp_path / name)).identifying


def test_a_compressed_multi_frame_file_equals_its_slices(tmp_path: Path) -> None:
    slices = ct_series(body())
    plain = load_volume(write(slices, tmp_path / "plain"))
    converted = enhanced(slices)
    compress(converted, JPEGLSLossless, generate_instance_uid=False)
    volume = load_volume(write([converted], tmp_path / "enhanced"))
    np.testing.assert_array_equal(volume.voxels, plain.voxels)


def test_mr_keeps_its_stored_values(tmp_path: Path) -> None:
    values = np.abs(body()).astype(np.int16)
    volume = load_volume(write(ct_series(values, modality="MR"), tmp_path))
    np.testing.assert_array_equal(volume.voxels, values)
    assert volume.modality == "MR"


def test_mr_is_rescaled_where_its_header_says_so(tmp_path: Path) -> None:
    values = np.abs(body()).astype(np.int16)
    slices = ct_series(values, modality="MR")
    for dataset in slices:
        dataset.RescaleSlope, dataset.RescaleIntercept = "0.5", 3
    volume = load_volume(write(slices, tmp_path))
    np.testing.assert_allclose(volume.voxels, values * 0.5 + 3)


def test_localisers_are_left_out(tmp_path: Path) -> None:
    hu = body()
    slices = ct_series(hu)
    scout = ct_series(body((1, 64, 64)), orientation=CORONAL, series=slices[0].SeriesInstanceUID)[0]
    scout.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    np.testing.assert_array_equal(load_volume(write([scout, *slices], tmp_path)).voxels, hu)


def test_a_copy_of_a_file_counts_once(tmp_path: Path) -> None:
    slices = ct_series(body())
    volume = load_volume(write([*slices, slices[2]], tmp_path))
    assert len(volume.voxels) == 8


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless])
@pytest.mark.parametrize("place", [0, -1])
def test_a_copy_of_a_slice_in_another_compression_counts_once(tmp_path: Path, syntax: str, place: int) -> None:
    slices = ct_series(body())
    copied = copy.deepcopy(slices[2])
    compress(copied, syntax, generate_instance_uid=False)
    copied.ImagePositionPatient = [f"{float(value):.4f}" for value in copied.ImagePositionPatient]
    files = [copied, *slices] if place == 0 else [*slices, copied]
    np.testing.assert_array_equal(load_volume(write(files, tmp_path)).voxels, body())


def test_a_copy_that_is_stored_with_another_scale_counts_once(tmp_path: Path) -> None:
    slices = ct_series(body())
    copied = copy.deepcopy(slices[2])
    copied.RescaleIntercept = -2048
    set_stored(copied, body()[2].astype(int) + 2048)
    np.testing.assert_array_equal(load_volume(write([*slices, copied], tmp_path)).voxels, body())


@pytest.mark.parametrize(
    ("keyword", "value", "reason"),
    [
        ("PixelData", None, "two different slices: their pixels differ; keep one of the two"),
        ("RescaleIntercept", -1000, "two different slices: their pixels differ"),
        ("ImagePositionPatient", [0, 0, 0], "two different slices: they differ in position"),
        ("PixelSpacing", [0.8, 0.9], "two different slices: they differ in position"),
    ],
)
def test_two_slices_that_share_a_uid_and_are_no_copies_are_refused(
    tmp_path: Path, keyword: str, value: object, reason: str
) -> None:
    slices = ct_series(body())
    copied = copy.deepcopy(slices[2])
    setattr(copied, keyword, slices[3].PixelData if value is None else value)
    with pytest.raises(BadStudyError, match=reason):
        load_volume(write([*slices, copied], tmp_path))


def with_two_acquisitions(second: int) -> list[Dataset]:
    """Eight slices of acquisition 1 and ``second`` of another at the same heights."""
    slices = ct_series(body())
    other = ct_series(body(seed=1), series=slices[0].SeriesInstanceUID)
    for dataset in other:
        dataset.AcquisitionNumber = 2
        dataset.FrameOfReferenceUID = slices[0].FrameOfReferenceUID
        dataset.StudyInstanceUID = slices[0].StudyInstanceUID
    return [*slices, *other[:second]]


def test_of_two_acquisitions_the_one_is_taken_that_a_mask_refers_to(tmp_path: Path) -> None:
    slices = with_two_acquisitions(8)
    files = write(slices, tmp_path)
    volume = load_volume(files, referred={slices[10].SOPInstanceUID})
    np.testing.assert_array_equal(volume.voxels, body(seed=1))
    with pytest.raises(BadStudyError, match="2 acquisitions, 2 of them a volume"):
        load_volume(files)


def test_of_two_acquisitions_the_only_one_that_forms_a_volume_is_taken(tmp_path: Path) -> None:
    volume = load_volume(write(with_two_acquisitions(1), tmp_path))
    np.testing.assert_array_equal(volume.voxels, body())
    assert volume.remarks == (Remark("guess", "of several acquisitions in one series, the only volume"),)


MARKS: dict[str, tuple[tuple[object, object], str]] = {
    "TemporalPositionIdentifier": ((1, 2), "points in time"),
    "TriggerTime": ((12.5, 300), "points in time"),
    "EchoTime": ((10, 90), "echoes"),
    "DiffusionBValue": ((0.0, 1000.0), "diffusion weightings"),
    "ImageType": ((["ORIGINAL", "PRIMARY", "W"], ["ORIGINAL", "PRIMARY", "F"]), "kinds of image"),
}
"""How scanners mark two volumes in one series."""


@pytest.mark.parametrize("keyword", MARKS)
def test_of_two_volumes_in_one_series_the_one_is_taken_that_is_outlined(tmp_path: Path, keyword: str) -> None:
    values, called = MARKS[keyword]
    both = with_two_acquisitions(8)
    for number, dataset in enumerate(both):
        dataset.AcquisitionNumber = 1
        setattr(dataset, keyword, values[number // 8])
    files = write(both, tmp_path)
    volume = load_volume(files, referred={both[10].SOPInstanceUID, both[12].SOPInstanceUID})
    np.testing.assert_array_equal(volume.voxels, body(seed=1))
    assert volume.remarks == (Remark("guess", f"of several {called} in one series, the one outlined"),)
    for referred in ({both[3].SOPInstanceUID, both[12].SOPInstanceUID}, set[str]()):
        with pytest.raises(
            BadStudyError, match=f"holds 2 {called}, 2 of them a volume, and no outline .*: outline one"
        ):
            load_volume(files, referred=referred)


def test_a_mark_of_each_slice_makes_no_volume_of_the_outlined_slices_alone(tmp_path: Path) -> None:
    slices = ct_series(body())
    del slices[6]
    for number, dataset in enumerate(slices):
        dataset.TriggerTime = number
    outlined = {dataset.SOPInstanceUID for dataset in slices[1:4]}
    with pytest.raises(BadStudyError, match=r"gap: 1 slices are missing"):
        load_volume(write(slices, tmp_path), referred=outlined)


def test_a_slab_does_not_stand_for_a_series_with_a_gap(tmp_path: Path) -> None:
    slices = ct_series(body())
    for number, dataset in enumerate(slices):
        dataset.AcquisitionNumber = 1 + number // 4
    del slices[6]
    files = write(slices, tmp_path)
    for referred in (set[str](), {slices[1].SOPInstanceUID}):
        with pytest.raises(BadStudyError, match="gap: 1 slices are missing"):
            load_volume(files, referred=referred)


def test_a_few_slices_of_another_acquisition_do_not_stand_in_for_a_broken_series(tmp_path: Path) -> None:
    slices = with_two_acquisitions(3)
    del slices[4]
    with pytest.raises(BadStudyError, match="2 acquisitions, 1 of them a volume"):
        load_volume(write(slices, tmp_path))


def test_an_acquisition_number_that_counts_table_positions_splits_nothing(tmp_path: Path) -> None:
    slices = ct_series(body())
    for number, dataset in enumerate(slices):
        dataset.AcquisitionNumber = number
    assert len(load_volume(write(slices, tmp_path)).voxels) == 8


@pytest.mark.parametrize(
    "orientation", [SAGITTAL, CORONAL, (-1, 0, 0, 0, -1, 0), (0.99, 0.14106736, 0, -0.14106736, 0.99, 0)]
)
def test_to_lps_turns_a_volume_as_simpleitk_does(tmp_path: Path, orientation: tuple[float, ...]) -> None:
    volume = load_volume(write(ct_series(body(), orientation=orientation, spacing=(2.5, 0.8, 0.5)), tmp_path))
    turned = SimpleITK.DICOMOrient(read_by_simpleitk(tmp_path), "LPS")
    np.testing.assert_array_equal(volume.to_lps(volume.voxels), SimpleITK.GetArrayFromImage(turned))
    assert volume.lps_spacing == pytest.approx(turned.GetSpacing()[::-1])


def test_warnings_of_pydicom_do_not_reach_the_terminal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    slices = ct_series(body())
    for dataset in slices:
        dataset.PixelData += b"\0\0\0\0"
    files = write(slices, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_volume(files)
    assert capfd.readouterr() == ("", "")


Spoil = Callable[[list[Dataset]], object]


def tilt(slices: list[Dataset]) -> None:
    for number, dataset in enumerate(slices):
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 0.965926, -0.258819]
        dataset.ImagePositionPatient = [-20, -15, 100 + 2.5 * number]
        dataset.GantryDetectorTilt = 15


def shift(number: int, axis: int, by: float) -> Spoil:
    def spoil(slices: list[Dataset]) -> None:
        slices[number].ImagePositionPatient[axis] += by

    return spoil


def put(keyword: str, value: object, number: int = 3) -> Spoil:
    return lambda slices: setattr(slices[number], keyword, value)


def take(keyword: str, number: int = 3) -> Spoil:
    return lambda slices: slices[number].__delattr__(keyword)


def put_all(keyword: str, value: object) -> Spoil:
    return lambda slices: [setattr(dataset, keyword, value) for dataset in slices]


def test_a_tilt_in_the_header_alone_is_no_reason_to_refuse(tmp_path: Path) -> None:
    slices = ct_series(body())
    put_all("GantryDetectorTilt", 15)(slices)
    assert len(load_volume(write(slices, tmp_path)).voxels) == 8


def another_slice_under_one_uid(slices: list[Dataset]) -> None:
    slices[3].SOPInstanceUID = slices[4].SOPInstanceUID


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (tilt, "gantry tilt: the slices are sheared by 15.0 degrees, its header says 15"),
        (lambda slices: slices.pop(3), "gap: 1 slices are missing between 002.dcm and 003.dcm"),
        (shift(3, 2, 0.1), "irregular spacing: steps of 2.400 to 2.600 mm"),
        (shift(3, 2, 2.5), "003.dcm and 004.dcm are two slices at one position"),
        (shift(3, 0, 5.0), "003.dcm: lies 5.0 mm beside the other slices"),
        (another_slice_under_one_uid, "003.dcm and 004.dcm have one SOPInstanceUID, but are two different slices"),
        (put("ImageOrientationPatient", list(CORONAL)), "mixed series: .* different orientations"),
        (put("FrameOfReferenceUID", generate_uid()), "mixed series: .* different frames of reference"),
        (put("PixelSpacing", [0.9, 0.9]), "mixed series: .* differ in PixelSpacing"),
        (put("Rows", 31), "mixed series: 000.dcm has 32x40 pixels, 003.dcm 31x40"),
        (put("Modality", "MR"), "mixed series: 000.dcm and 003.dcm are of different modalities"),
        (put("Modality", "PT"), "003.dcm: modality is PT, expected CT or MR"),
        (put("SeriesInstanceUID", generate_uid()), "003.dcm: belongs to another series than 000.dcm"),
        (put_all("ImageType", ["DERIVED", "SECONDARY", "LOCALIZER"]), "nothing but localisers"),
        (lambda slices: slices.__delitem__(slice(1, None)), "1 slice is no volume"),
        (lambda slices: slices.clear(), "no slice is left"),
        (put("PixelData", b"\0" * 64), "003.dcm: pixel data are missing, truncated or damaged"),
        (take("PixelData"), "003.dcm: pixel data are missing"),
        (take("ImagePositionPatient"), "003.dcm: ImagePositionPatient is missing"),
        (take("ImageOrientationPatient"), "003.dcm: ImageOrientationPatient is missing"),
        (take("PixelSpacing"), "003.dcm: PixelSpacing is missing"),
        (take("RescaleSlope"), "003.dcm: RescaleSlope or RescaleIntercept is missing"),
        (take("SOPInstanceUID"), "003.dcm: SOPInstanceUID is missing"),
        (take("Rows"), "003.dcm: Rows is missing"),
        (put("RescaleSlope", "NaN"), "003.dcm: RescaleSlope does not hold 1 number"),
        (put("RescaleSlope", 0), "003.dcm: RescaleSlope 0 gives no Hounsfield units"),
        (put("ImagePositionPatient", ["NaN", 0, 0]), "ImagePositionPatient does not hold 3 numbers"),
        (put("PixelSpacing", [0.8]), "PixelSpacing does not hold 2 numbers"),
        (put_all("PixelSpacing", [0, 0.8]), "PixelSpacing is not positive"),
        (put_all("ImageOrientationPatient", [1, 0, 0, 1, 0, 0]), "no pair of directions at a right angle"),
        (put("PhotometricInterpretation", "RGB"), "003.dcm: pixels are RGB, not grey values"),
        (put("Rows", 4), "003.dcm: 1 slices of 4x40 pixels are too small"),
        (put("NumberOfFrames", 5), "003.dcm: holds 5 frames without positions"),
        (put("NumberOfFrames", 10**9), "the series is larger than 2 GiB"),
        (lambda slices: [set_stored(dataset, np.zeros((32, 40))) for dataset in slices], "image is empty"),
    ],
)
def test_a_series_that_forms_no_volume_is_refused_with_its_reason(tmp_path: Path, spoil: Spoil, reason: str) -> None:
    slices = ct_series(body())
    spoil(slices)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        files = write_unchecked(slices, tmp_path)
    with pytest.raises(BadStudyError, match=reason):
        load_volume(files)


def write_unchecked(slices: list[Dataset], folder: Path) -> list[Path]:
    paths = [folder / f"{number:03d}.dcm" for number in range(len(slices))]
    for dataset, path in zip(slices, paths, strict=True):
        dataset.save_as(path)
    return paths


def test_files_that_are_cut_off_or_gone_are_refused(tmp_path: Path) -> None:
    files = write(ct_series(body()), tmp_path)
    files[2].write_bytes(files[2].read_bytes()[:-500])
    with pytest.raises(BadStudyError, match=r"002\.dcm: pixel data are missing, truncated or damaged"):
        load_volume(files)
    files[2].write_bytes(b"hello")
    with pytest.raises(BadStudyError, match=r"002\.dcm: is no DICOM file, or damaged"):
        load_volume(files)
    files[2].unlink()
    with pytest.raises(BadStudyError, match=r"002\.dcm: cannot be read"):
        load_volume(files)


def test_compressed_pixels_that_claim_another_size_are_not_unpacked(tmp_path: Path) -> None:
    for syntax, magic in ((JPEG2000Lossless, b"\xff\x4f\xff\x51"), (JPEGLSLossless, b"\xff\xf7")):
        slices = ct_series(body())
        compress(slices[1], syntax, generate_instance_uid=False)
        data = bytearray(slices[1].PixelData)
        at = data.index(magic)
        if syntax == JPEG2000Lossless:
            data[at + 8 : at + 16] = b"\x00\x00\xff\xff\x00\x00\xff\xff"
        else:
            data[at + 5 : at + 9] = b"\xff\xff\xff\xff"
        slices[1].PixelData = bytes(data)
        with pytest.raises(BadStudyError, match=r"001\.dcm: compressed pixels are 65535x65535"):
            load_volume(write(slices, tmp_path / syntax))
