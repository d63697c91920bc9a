"""Outlines of a SEG and an RTSTRUCT land on the voxels on which they were drawn."""

from pathlib import Path

import highdicom as hd
import numpy as np
import numpy.typing as npt
import pytest
from dicom_files import AXIAL, CORONAL, SAGITTAL, body, ct_series, segmentation, structure_set, write
from matplotlib.path import Path as Outline
from pydicom import Dataset
from pydicom.uid import generate_uid

from common.errors import BadStudyError
from common.imaging.dicom.contour import filled
from common.imaging.dicom.masks import Masks, load_masks
from common.imaging.dicom.volume import DicomVolume, load_volume
from common.imaging.remarks import Remark

SHAPE = (8, 32, 40)
REAL = Path(__file__).parents[5] / "shared" / "data" / "dicom_seg"


def box(z: slice, y: slice, x: slice) -> npt.NDArray[np.uint8]:
    mask = np.zeros(SHAPE, np.uint8)
    mask[z, y, x] = 1
    return mask


LIVER = box(slice(1, 7), slice(4, 24), slice(6, 30))
MASS = box(slice(3, 5), slice(8, 15), slice(10, 20))


def outlined(slices: list[Dataset], outline: Dataset, folder: Path, *names: str) -> tuple[DicomVolume, Masks]:
    volume = load_volume(write(slices, folder / "ct"))
    [path] = write([outline], folder / "outline")
    return volume, load_masks(path, volume, [name.casefold() for name in names].__contains__)


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
@pytest.mark.parametrize("orientation", [AXIAL, CORONAL])
def test_segments_lie_where_they_were_drawn(tmp_path: Path, kind: str, orientation: tuple[float, ...]) -> None:
    slices = ct_series(body(SHAPE), orientation=orientation)
    rest = LIVER & ~MASS  # a label map has one label a voxel
    _, masks = outlined(
        slices, segmentation(slices, {"Liver": rest, "Mass": MASS}, kind=kind), tmp_path, "liver", "MASS"
    )
    np.testing.assert_array_equal(masks.by_name["liver"], rest)
    np.testing.assert_array_equal(masks.by_name["mass"], MASS)
    assert masks.names == ("liver", "mass")


def test_overlapping_segments_stay_whole(tmp_path: Path) -> None:
    slices = ct_series(body(SHAPE))
    _, masks = outlined(slices, segmentation(slices, {"Liver": LIVER, "Mass": MASS}), tmp_path, "liver", "mass")
    np.testing.assert_array_equal(masks.by_name["liver"], LIVER)
    np.testing.assert_array_equal(masks.by_name["mass"], MASS)


def test_only_what_is_asked_for_is_read_by_whole_name(tmp_path: Path) -> None:
    slices = ct_series(body(SHAPE))
    _, masks = outlined(slices, segmentation(slices, {"Mass": MASS, "Mass effect": LIVER}), tmp_path, "mass", "spleen")
    assert list(masks.by_name) == ["mass"]
    assert masks.names == ("mass", "mass effect")


def test_segments_of_one_label_are_joined(tmp_path: Path) -> None:
    slices = ct_series(body(SHAPE))
    outline = segmentation(slices, {"Mass": MASS, "mass ": box(slice(0, 1), slice(0, 3), slice(0, 3))})
    _, masks = outlined(slices, outline, tmp_path, "mass")
    assert masks.by_name["mass"].sum() == MASS.sum() + 9


@pytest.mark.parametrize("stated", [2.5, 2.4997, 5.0, None])
@pytest.mark.parametrize("kept", [[3], [1, 6], [1, 4, 7]])
def test_frames_left_out_are_empty_slices(tmp_path: Path, kept: list[int], stated: float | None) -> None:
    """Without a stated distance between slices, frames 1, 4 and 7 look like slices three times as far apart."""
    slices = ct_series(body(SHAPE))
    mask = np.zeros(SHAPE, np.uint8)
    mask[kept, 5:12, 20:31] = 1
    outline = segmentation(slices, {"Mass": mask})
    assert outline.NumberOfFrames == len(kept)
    measures = outline.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    measures.SpacingBetweenSlices = stated
    _, masks = outlined(slices, outline, tmp_path, "mass")
    np.testing.assert_array_equal(masks.by_name["mass"], mask)


def test_the_order_of_the_frames_does_not_matter(tmp_path: Path) -> None:
    slices = ct_series(body(SHAPE))
    outline = segmentation(slices[::-1], {"Mass": MASS[::-1] * np.arange(1, 9)[:, None, None] > 4})
    _, masks = outlined(slices, outline, tmp_path, "mass")
    np.testing.assert_array_equal(masks.by_name["mass"], MASS * np.arange(8, 0, -1)[:, None, None] > 4)


def test_rounded_positions_and_spacings_are_put_back_on_the_grid(tmp_path: Path) -> None:
    slices = ct_series(body(SHAPE), spacing=(0.7031251, 0.6835937, 0.6835937), origin=(-163.2812, -11.1113, 7.7777))
    outline = segmentation(slices, {"Mass": MASS})
    outline.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = [0.684, 0.684]
    for group in outline.PerFrameFunctionalGroupsSequence:
        place = group.PlanePositionSequence[0]
        place.ImagePositionPatient = [round(value, 2) for value in place.ImagePositionPatient]
    _, masks = outlined(slices, outline, tmp_path, "mass")
    np.testing.assert_array_equal(masks.by_name["mass"], MASS)


def test_a_segmentation_stored_from_the_other_side_is_turned(tmp_path: Path) -> None:
    slices = ct_series(body(SHAPE))
    turned = ct_series(
        body(SHAPE),
        orientation=(-1, 0, 0, 0, -1, 0),
        origin=(-20 + 0.8 * 39, -15 + 0.8 * 31, 100),
        frame_of_reference=slices[0].FrameOfReferenceUID,
    )
    _, masks = outlined(slices, segmentation(turned, {"Mass": MASS[:, ::-1, ::-1]}), tmp_path, "mass")
    np.testing.assert_array_equal(masks.by_name["mass"], MASS)


def test_an_empty_segment_is_an_empty_mask(tmp_path: Path) -> None:
    slices = ct_series(body(SHAPE))
    _, masks = outlined(slices, segmentation(slices, {"Liver": LIVER, "Mass": MASS * 0}), tmp_path, "mass")
    assert not masks.by_name["mass"].any()


def test_a_fractional_voxel_counts_from_one_half(tmp_path: Path) -> None:
    slices = ct_series(body(SHAPE))
    outline = segmentation(slices, {"Mass": MASS * 0.4 + LIVER * 0.3}, kind="FRACTIONAL")
    _, masks = outlined(slices, outline, tmp_path, "mass")
    np.testing.assert_array_equal(masks.by_name["mass"], MASS)


def test_a_real_segmentation_is_placed_by_the_images_that_its_frames_name() -> None:
    if not REAL.is_dir():
        pytest.skip("the real segmentation is not on this machine")
    volume = load_volume(sorted(REAL.glob("0?.dcm")))
    mask = load_masks(REAL / "liver_seg.dcm", volume, ["liver"].__contains__).by_name["liver"]
    theirs = hd.seg.segread(REAL / "liver_seg.dcm").get_pixels_by_source_instance(
        volume.sop_uids, ignore_spatial_locations=True
    )
    np.testing.assert_array_equal(mask, theirs[..., 0])
    assert mask.sum() == 107098


def another_space(outline: Dataset) -> None:
    outline.FrameOfReferenceUID = generate_uid()


def far_away(outline: Dataset) -> None:
    for group in outline.PerFrameFunctionalGroupsSequence:
        group.PlanePositionSequence[0].ImagePositionPatient[2] += 250


def on_thicker_slices(outline: Dataset) -> None:
    for number, group in enumerate(outline.PerFrameFunctionalGroupsSequence):
        group.PlanePositionSequence[0].ImagePositionPatient[2] = 100 + 3.5 * number


def half_a_pixel_beside(outline: Dataset) -> None:
    for group in outline.PerFrameFunctionalGroupsSequence:
        group.PlanePositionSequence[0].ImagePositionPatient[0] += 0.4


def one_frame_astray(outline: Dataset) -> None:
    outline.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0].ImagePositionPatient[2] -= 1e6


def without_pixels(outline: Dataset) -> None:
    del outline.PixelData


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (another_space, "another frame of reference"),
        (far_away, "segment 1 lies outside the images"),
        (on_thicker_slices, "its frames form no volume"),
        (half_a_pixel_beside, "do not lie on the grid of the images"),
        (one_frame_astray, "000.dcm: spans far more than the images"),
        (without_pixels, "cannot be understood, the file is damaged"),
    ],
)
def test_a_segmentation_that_does_not_fit_is_refused(tmp_path: Path, spoil: object, reason: str) -> None:
    slices = ct_series(body(SHAPE))
    outline = segmentation(slices, {"Mass": MASS})
    assert callable(spoil)
    spoil(outline)
    with pytest.raises(BadStudyError, match=reason):
        outlined(slices, outline, tmp_path, "mass")


def test_what_is_no_outline_is_refused(tmp_path: Path) -> None:
    slices = ct_series(body(SHAPE))
    with pytest.raises(BadStudyError, match="modality is CT, expected SEG or RTSTRUCT"):
        outlined(slices, slices[0], tmp_path, "mass")


def polygon(*points: tuple[float, float]) -> npt.NDArray[np.float64]:
    return np.array(points, np.float64)


OUTER = polygon((5.5, 4.5), (30.5, 4.5), (33.5, 20.5), (18.3, 27.2), (5.5, 20.5))
INNER = polygon((10.5, 8.5), (20.5, 8.5), (20.5, 15.5), (10.5, 15.5))


def inside(points: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """(Y, X) pixels whose centres lie in a polygon, by matplotlib."""
    y, x = np.indices(SHAPE[1:])
    return Outline(points).contains_points(np.stack([x.ravel(), y.ravel()], 1)).reshape(SHAPE[1:])


@pytest.mark.parametrize("orientation", [AXIAL, SAGITTAL])
def test_contours_are_filled_on_their_slice(tmp_path: Path, orientation: tuple[float, ...]) -> None:
    slices = ct_series(body(SHAPE), orientation=orientation)
    outline = structure_set(slices, {"GTV": [(2, OUTER), (3, INNER)], "Cord": [(0, INNER)]})
    _, masks = outlined(slices, outline, tmp_path, "gtv")
    expected = np.zeros(SHAPE, bool)
    expected[2], expected[3] = inside(OUTER), inside(INNER)
    np.testing.assert_array_equal(masks.by_name["gtv"], expected)
    assert masks.names == ("cord", "gtv")


def test_a_contour_within_a_contour_is_a_hole_and_one_beside_it_is_not(tmp_path: Path) -> None:
    slices = ct_series(body(SHAPE))
    core = polygon((12.5, 10.5), (16.5, 10.5), (16.5, 13.5), (12.5, 13.5))
    apart = polygon((34.5, 26.5), (38.5, 26.5), (38.5, 30.5), (34.5, 30.5))
    outline = structure_set(slices, {"GTV": [(2, OUTER), (2, INNER), (2, core), (2, apart)]})
    _, masks = outlined(slices, outline, tmp_path, "gtv")
    expected = (inside(OUTER) & ~inside(INNER)) | inside(core) | inside(apart)
    np.testing.assert_array_equal(masks.by_name["gtv"][2], expected)
    assert masks.outlines.remarks == (Remark("guess", "an inner contour taken as a hole"),)


def test_a_ragged_contour_that_crosses_itself_and_the_border_is_filled_as_matplotlib_fills_it() -> None:
    rng = np.random.default_rng(3)
    for count in (3, 10, 60):
        points = rng.uniform(-10, 45, (count, 2))
        y, x = np.indices(SHAPE[1:])
        windings = np.zeros(SHAPE[1:], bool)
        for corner, following in zip(points, np.roll(points, -1, axis=0), strict=True):
            # Even-odd: a pixel lies inside an odd number of the triangles that a fixed point forms with the edges.
            triangle = Outline(np.array([points[0], corner, following]))
            windings ^= triangle.contains_points(np.stack([x.ravel(), y.ravel()], 1)).reshape(SHAPE[1:])
        np.testing.assert_array_equal(filled(points, (32, 40)), windings)


def test_a_contour_that_fills_memory_is_refused() -> None:
    zigzag = np.tile([(0.0, -1.0), (5.0, 600.0)], (40_000, 1))
    with pytest.raises(ValueError, match="too often"):
        filled(zigzag, (512, 512))


def test_a_keyhole_leaves_its_hole_out(tmp_path: Path) -> None:
    """One contour that goes in along a line, around the hole, and out along the same line."""
    slices = ct_series(body(SHAPE))
    hole = INNER[::-1]
    keyhole = np.concatenate([OUTER, OUTER[:1], hole, hole[:1]])
    _, masks = outlined(slices, structure_set(slices, {"GTV": [(2, keyhole)]}), tmp_path, "gtv")
    np.testing.assert_array_equal(masks.by_name["gtv"][2], inside(OUTER) & ~inside(INNER))


def between_slices(outline: Dataset) -> None:
    data = outline.ROIContourSequence[0].ContourSequence[0].ContourData
    data[2::3] = [value + 1 for value in data[2::3]]


def across_slices(outline: Dataset) -> None:
    outline.ROIContourSequence[0].ContourSequence[0].ContourData[2] += 2.5


def above(outline: Dataset) -> None:
    data = outline.ROIContourSequence[0].ContourSequence[0].ContourData
    data[2::3] = [value + 250 for value in data[2::3]]


def beside(outline: Dataset) -> None:
    data = outline.ROIContourSequence[0].ContourSequence[0].ContourData
    data[0::3] = [value + 1e7 for value in data[0::3]]


def open_contour(outline: Dataset) -> None:
    outline.ROIContourSequence[0].ContourSequence[0].ContourGeometricType = "OPEN_PLANAR"


def another_image(outline: Dataset) -> None:
    images = outline.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0]
    other = images.RTReferencedSeriesSequence[0].ContourImageSequence[5]
    outline.ROIContourSequence[0].ContourSequence[0].ContourImageSequence = [other]


def another_space_of_a_structure(outline: Dataset) -> None:
    outline.StructureSetROISequence[0].ReferencedFrameOfReferenceUID = generate_uid()


def far_and_wide(outline: Dataset) -> None:
    """One corner of the square lies on the next slice but one."""
    outline.ROIContourSequence[0].ContourSequence[0].ContourData[5] += 5


def a_marker(outline: Dataset) -> None:
    outline.ROIContourSequence[0].ContourSequence[0].ContourGeometricType = "POINT"


def a_line(outline: Dataset) -> None:
    contour = outline.ROIContourSequence[0].ContourSequence[0]
    contour.ContourData = contour.ContourData[:6]


def nothing(outline: Dataset) -> None:
    del outline.ROIContourSequence[0].ContourSequence[0].ContourData


LEFT_OUT = [
    (between_slices, "do not lie on a slice of the images"),
    (across_slices, "do not lie on a slice of the images"),
    (far_and_wide, "do not lie on a slice of the images"),
    (above, "lie outside the images"),
    (beside, "enclose no pixel of the images"),
    (open_contour, "are not closed"),
    (a_marker, "have one or two points"),
    (a_line, "have one or two points"),
    (nothing, "have one or two points"),
    (another_image, "lie on another slice than the one they name"),
]


@pytest.mark.parametrize(
    ("spoil", "reason"), [*LEFT_OUT, (another_space_of_a_structure, "lies in another frame of reference")]
)
def test_a_structure_of_which_nothing_fits_has_a_reason_instead_of_a_mask(
    tmp_path: Path, spoil: object, reason: str
) -> None:
    slices = ct_series(body(SHAPE))
    outline = structure_set(slices, {"GTV": [(2, OUTER)]})
    assert callable(spoil)
    spoil(outline)
    _, masks = outlined(slices, outline, tmp_path, "gtv")
    assert masks.by_name == {}
    assert masks.names == ("gtv",)
    assert list(masks.outlines.unusable) == ["gtv"]
    assert reason in masks.outlines.unusable["gtv"]


@pytest.mark.parametrize(("spoil", "reason"), LEFT_OUT)
def test_a_contour_that_does_not_fit_is_left_out_with_a_remark(tmp_path: Path, spoil: object, reason: str) -> None:
    slices = ct_series(body(SHAPE))
    outline = structure_set(slices, {"GTV": [(2, OUTER), (4, INNER)]})
    assert callable(spoil)
    spoil(outline)
    _, masks = outlined(slices, outline, tmp_path, "gtv")
    expected = np.zeros(SHAPE, bool)
    expected[4] = inside(INNER)
    np.testing.assert_array_equal(masks.by_name["gtv"], expected)
    assert masks.outlines.remarks == (Remark("guess", f"gtv without contours that {reason}"),)


def test_contours_of_one_structure_in_several_items_are_those_of_one_structure(tmp_path: Path) -> None:
    slices = ct_series(body(SHAPE))
    outline = structure_set(slices, {"GTV": [(2, OUTER)], "more": [(2, INNER)]})
    outline.ROIContourSequence[1].ReferencedROINumber = 1
    _, masks = outlined(slices, outline, tmp_path, "gtv")
    np.testing.assert_array_equal(masks.by_name["gtv"][2], inside(OUTER) & ~inside(INNER))


def test_two_structures_of_one_name_are_joined_whatever_lies_in_the_other(tmp_path: Path) -> None:
    slices = ct_series(body(SHAPE))
    outline = structure_set(slices, {"GTV": [(2, OUTER)], "gtv ": [(2, INNER), (3, INNER)], "gTV": []})
    _, masks = outlined(slices, outline, tmp_path, "gtv")
    np.testing.assert_array_equal(masks.by_name["gtv"][2], inside(OUTER))
    np.testing.assert_array_equal(masks.by_name["gtv"][3], inside(INNER))
    assert masks.outlines.remarks == ()


def test_two_structures_of_one_number_are_refused(tmp_path: Path) -> None:
    slices = ct_series(body(SHAPE))
    outline = structure_set(slices, {"GTV": [(2, OUTER)], "Liver": [(2, INNER)]})
    outline.StructureSetROISequence[1].ROINumber = 1
    with pytest.raises(BadStudyError, match="the structures gtv and liver have one number"):
        outlined(slices, outline, tmp_path, "gtv")


def test_two_segments_of_one_number_are_refused(tmp_path: Path) -> None:
    slices = ct_series(body(SHAPE))
    outline = segmentation(slices, {"Mass": MASS, "Liver": LIVER})
    outline.SegmentSequence[1].SegmentNumber = 1
    with pytest.raises(BadStudyError, match="the segments mass and liver have one number"):
        outlined(slices, outline, tmp_path, "mass")


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_a_segment_that_is_drawn_and_not_described_is_an_outline_without_a_name(tmp_path: Path, kind: str) -> None:
    slices = ct_series(body(SHAPE))
    outline = segmentation(slices, {"Liver": LIVER & ~MASS, "Mass": MASS}, kind=kind)
    del outline.SegmentSequence[-1]
    _, masks = outlined(slices, outline, tmp_path, "liver")
    assert masks.names == ("liver", "unnamed")
    np.testing.assert_array_equal(masks.by_name["liver"], LIVER & ~MASS)


def test_a_segment_without_a_label_is_an_outline_without_a_name(tmp_path: Path) -> None:
    slices = ct_series(body(SHAPE))
    outline = segmentation(slices, {"Liver": LIVER, "Mass": MASS})
    del outline.SegmentSequence[1].SegmentLabel
    _, masks = outlined(slices, outline, tmp_path, "liver", "unnamed")
    np.testing.assert_array_equal(masks.by_name["liver"], LIVER)
    np.testing.assert_array_equal(masks.by_name["unnamed"], MASS)


def test_contours_without_a_description_are_an_outline_without_a_name(tmp_path: Path) -> None:
    slices = ct_series(body(SHAPE))
    outline = structure_set(slices, {"Liver": [(2, OUTER)], "": [(2, INNER)], "GTV": [(3, INNER)]})
    del outline.StructureSetROISequence[2]
    _, masks = outlined(slices, outline, tmp_path, "unnamed")
    assert masks.names == ("liver", "unnamed")
    assert masks.by_name["unnamed"].any(axis=(1, 2)).tolist() == [False, False, True, True, *[False] * 4]


def test_contours_of_an_xor_type_hold_what_lies_in_an_odd_number_of_them(tmp_path: Path) -> None:
    slices = ct_series(body(SHAPE))
    shifted = OUTER + polygon((3, 2))
    for number, kind in enumerate(("CLOSEDPLANAR_XOR", "CLOSED_PLANAR_XOR")):
        outline = structure_set(slices, {"GTV": [(2, OUTER), (2, INNER), (2, shifted), (3, INNER), (3, INNER)]})
        for contour in outline.ROIContourSequence[0].ContourSequence:
            contour.ContourGeometricType = kind
        _, masks = outlined(slices, outline, tmp_path / str(number), "gtv")
        np.testing.assert_array_equal(masks.by_name["gtv"][2], inside(OUTER) ^ inside(INNER) ^ inside(shifted))
        assert not masks.by_name["gtv"][3].any()
        assert masks.outlines.remarks == (Remark("guess", "gtv without contours that cancel each other out"),)


def test_a_segment_that_reaches_out_of_the_images_is_cut_off_with_a_remark(tmp_path: Path) -> None:
    slices = ct_series(body(SHAPE))
    _, masks = outlined(
        slices[:4], segmentation(slices, {"Mass": box(slice(1, 6), slice(5, 9), slice(5, 9))}), tmp_path, "mass"
    )
    assert masks.by_name["mass"].sum() == 3 * 16
    assert masks.outlines.remarks == (Remark("guess", "mass without what lies outside the images"),)
