import numpy as np
import pytest
from lidc_files import disc, disc_edge

from common.errors import BadStudyError
from common.imaging.readers.lidc_consensus import (
    AgreedNodule,
    Outline,
    agree,
    agreed_nodules,
    enclosed,
    fill_contour,
    match_outlines,
    place,
)
from common.imaging.readers.lidc_xml import Annotation, Contour, Nodule, ReadingSession

SHAPE = (8, 48, 56)
SPACING = (2.5, 0.7, 0.7)
SLICES = {f"1.{z}": z for z in range(SHAPE[0])}


def contour(z: int, points: object, inclusion: bool = True) -> Contour:
    return Contour(f"1.{z}", None, inclusion, np.asarray(points, np.int32))


def nodule(*contours: Contour, malignancy: int | None = None) -> Nodule:
    return Nodule("n", {} if malignancy is None else {"malignancy": malignancy}, contours)


def ball(x: int, y: int, radius: float, z: tuple[int, ...] = (3, 4), malignancy: int | None = None) -> Nodule:
    return nodule(*(contour(at, disc_edge(x, y, radius)) for at in z), malignancy=malignancy)


def outline(reader: int, marked: Nodule) -> Outline:
    return place(marked, reader, SLICES, SHAPE)


def groups(*outlines: Outline, tolerance: float = 2.5) -> list[list[int]]:
    """The readers of each group."""
    return [[one.reader for one in group] for group in match_outlines(outlines, SPACING, tolerance)]


def painted(found: AgreedNodule) -> np.ndarray:
    labels = np.zeros(SHAPE, np.uint8)
    found.paint(labels, 1)
    return labels


@pytest.mark.parametrize("radius", [1, 2, 3.3, 5, 9.7])
def test_a_filled_contour_is_what_it_was_drawn_around(radius: float) -> None:
    mask, (top, left) = fill_contour(disc_edge(20, 24, radius).astype(np.int32))
    whole = np.zeros((48, 56), bool)
    whole[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
    np.testing.assert_array_equal(whole, disc(20, 24, radius, (48, 56)))


def test_points_that_are_apart_are_joined_and_the_contour_is_closed() -> None:
    mask, corner = fill_contour(np.array([[10, 10], [20, 10], [20, 16], [10, 16]], np.int32))
    assert corner == (10, 10)
    expected = np.zeros((7, 11), bool)
    expected[1:-1, 1:-1] = True
    np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize("points", [[[5, 5]], [[5, 5], [6, 5]], [[5, 5], [6, 6], [7, 5]], [[5, 5]] * 4])
def test_a_contour_without_an_inside_fills_nothing(points: list) -> None:
    assert not fill_contour(np.array(points, np.int32))[0].any()


def test_a_hole_takes_its_line_with_it_whatever_the_order() -> None:
    outer, hole = contour(0, disc_edge(24, 24, 10)), contour(0, disc_edge(24, 24, 4), inclusion=False)
    expected = disc(24, 24, 10, (48, 56)) & ~disc(24, 24, 4, (48, 56))
    expected[tuple(disc_edge(24, 24, 4).T[::-1])] = False
    for order in ((outer, hole), (hole, outer)):
        np.testing.assert_array_equal(enclosed(order, (48, 56)), expected)


def test_two_parts_on_one_slice_both_belong_to_the_nodule() -> None:
    parts = contour(0, disc_edge(15, 20, 4)), contour(0, disc_edge(26, 20, 3))
    expected = disc(15, 20, 4, (48, 56)) | disc(26, 20, 3, (48, 56))
    np.testing.assert_array_equal(enclosed(parts, (48, 56)), expected)
    np.testing.assert_array_equal(enclosed(parts, (44, 50), corner=(4, 6)), expected[4:, 6:])


def test_outlines_of_one_nodule_are_matched_and_those_of_another_are_not() -> None:
    marks = [outline(r, ball(15 + r, 20, 4)) for r in range(3)] + [outline(r, ball(40, 30, 4)) for r in (0, 3)]
    assert groups(*marks) == [[0, 1, 2], [0, 3]]


def test_nodules_are_listed_from_inferior_to_superior() -> None:
    assert groups(outline(0, ball(15, 20, 4, z=(6,))), outline(1, ball(15, 20, 4, z=(1,)))) == [[1], [0]]


def test_the_tolerance_is_in_millimetres_along_every_axis() -> None:
    apart = outline(0, nodule(contour(2, [[10, 10]] * 2))), outline(1, nodule(contour(2, [[14, 10]] * 2)))
    assert groups(*apart, tolerance=4 * 0.7) == [[0, 1]]
    assert groups(*apart, tolerance=4 * 0.7 - 0.01) == [[0], [1]]
    above = outline(0, nodule(contour(2, [[10, 10]] * 2))), outline(1, nodule(contour(3, [[10, 10]] * 2)))
    assert groups(*above, tolerance=2.5) == [[0, 1]]
    assert groups(*above, tolerance=2.4) == [[0], [1]]


def test_two_nodules_of_one_reader_never_join_and_a_large_one_joins_the_nearer() -> None:
    left, right = outline(0, ball(15, 20, 4)), outline(0, ball(25, 20, 4))
    large = outline(1, ball(18, 20, 9))
    found = match_outlines([right, left, large], SPACING, 2.5)
    assert {frozenset(map(id, group)) for group in found} == {frozenset((id(left), id(large))), frozenset((id(right),))}


def test_neighbours_that_touch_are_told_apart_by_their_centres() -> None:
    marks = [outline(reader, ball(x, 20, 4)) for reader in range(4) for x in (15, 24)]
    found = match_outlines(marks, SPACING, 2.5)
    assert [[one.reader for one in group] for group in found] == [[0, 1, 2, 3]] * 2
    assert all(len({int(one.centre[2]) for one in group}) == 1 for group in found)


def test_a_voxel_needs_its_share_of_those_who_marked_the_nodule() -> None:
    discs = [disc(20 + 2 * r, 24, 5, SHAPE[1:]) for r in range(3)]
    marks = [outline(r, ball(20 + 2 * r, 24, 5, z=(3,))) for r in range(3)]
    votes = np.sum(discs, axis=0)
    for agreement, needed in ((0.3, 1), (1 / 3, 1), (0.5, 2), (2 / 3, 2), (0.7, 3), (1.0, 3)):
        np.testing.assert_array_equal(painted(agree(marks, agreement))[3], votes >= needed)


def test_a_nodule_has_the_median_malignancy_of_those_who_rated_it() -> None:
    marks = [outline(r, ball(20, 24, 5, malignancy=rating)) for r, rating in enumerate((2, 5, None, 3))]
    found = agree(marks, 0.5)
    assert (found.malignancy, found.readers) == (3.0, 4)
    assert agree(marks[:2], 0.5).malignancy == 3.5
    assert agree(marks[2:3], 0.5).malignancy is None


def test_the_centre_is_that_of_the_mask() -> None:
    found = agree([outline(r, ball(21, 24, 5, z=(2, 3, 4))) for r in range(3)], 0.5)
    assert found.centre == pytest.approx((3, 24, 21))
    assert found.voxels == 3 * disc(21, 24, 5, SHAPE[1:]).sum()


def test_a_nodule_of_points_has_a_centre_and_no_voxel() -> None:
    found = agree([outline(0, nodule(contour(5, [[12, 40]])))], 0.5)
    assert (found.centre, found.voxels) == ((5.0, 40.0, 12.0), 0)
    assert not painted(found).any()


def test_outlined_nodules_and_points_are_matched_apart() -> None:
    readings = (
        ReadingSession("a", (ball(20, 20, 4, z=(6,)), nodule(contour(2, [[40, 30]])))),
        ReadingSession("b", (nodule(contour(2, [[41, 30]])), nodule(contour(6, [[20, 20]])))),
    )
    found = agreed_nodules(Annotation("1", readings), SLICES, SHAPE, SPACING, 0.5)
    assert [(one.readers, one.voxels > 0) for one in found] == [(1, True), (2, False), (1, False)]


def test_an_outline_off_the_series_or_outside_the_image_is_refused() -> None:
    with pytest.raises(BadStudyError, match="slice that is not in the series"):
        outline(0, nodule(contour(99, [[3, 3], [4, 4]])))
    outline(0, nodule(contour(1, [[55, 47], [54, 47]])))
    for x, y in ((56, 3), (3, 48)):
        with pytest.raises(BadStudyError, match="outside the image"):
            outline(0, nodule(contour(1, [[3, 3], [x, y]])))


def test_more_nodules_than_the_image_holds_are_refused() -> None:
    everything = nodule(*(contour(z, [[0, 0], [55, 0], [55, 47], [0, 47]]) for z in range(8)))
    one = Annotation("1", (ReadingSession("a", (everything,)),))
    assert agreed_nodules(one, SLICES, SHAPE, SPACING, 0.5)[0].voxels == 8 * 46 * 54
    with pytest.raises(BadStudyError, match="more nodules than fit"):
        agreed_nodules(Annotation("1", (ReadingSession("a", (everything,) * 2),)), SLICES, SHAPE, SPACING, 0.5)
