import numpy as np
import pytest
from phantoms import ellipsoid, thorax

from common.imaging.steps.lung_sides import BOTH, LEFT, RIGHT, lung_of, sides, told_apart, with_lesions

SPACING = (2.0, 2.0, 2.0)


def test_lungs_apart_are_right_and_left() -> None:
    chest = thorax()
    found = sides(chest.right | chest.left, SPACING)
    assert (found[chest.right] == RIGHT).all()
    assert (found[chest.left] == LEFT).all()


@pytest.mark.parametrize("lean", [0, 12], ids=["straight", "leaning over the midline"])
def test_lungs_that_touch_are_told_apart_along_the_bridge_and_not_by_a_plane(lean: int) -> None:
    shape = (40, 100, 140)
    right = ellipsoid(shape, (20, 50, 40), (18, 35, 28)) | ellipsoid(shape, (20, 25, 60 + lean), (10, 8, 14))
    left = ellipsoid(shape, (20, 55, 105), (18, 30, 26)) & ~right
    bridge = np.zeros(shape, bool)
    bridge[16:24, 50:54, 60:85] = True
    found = sides(right | left | bridge, SPACING)
    assert (found[right] == RIGHT).mean() > 0.995
    assert (found[left] == LEFT).mean() > 0.995


@pytest.mark.parametrize("x", [30, 70, 110])
def test_one_lung_alone_is_not_cut_in_two(x: int) -> None:
    lung = ellipsoid((30, 80, 140), (15, 40, x), (12, 30, 24))
    assert not told_apart(sides(lung, SPACING))


def test_lungs_with_nothing_thin_between_them_are_shown_as_one() -> None:
    lung = ellipsoid((30, 80, 140), (15, 40, 70), (12, 30, 60))
    assert (sides(lung, SPACING) == BOTH).all()


def test_a_lesion_belongs_wholly_to_the_lung_that_it_touches() -> None:
    organ = np.zeros((5, 20, 60), np.uint8)
    organ[:, 5:15, 5:25], organ[:, 5:15, 35:55] = RIGHT, LEFT
    lesions = np.zeros_like(organ)
    lesions[2, 8:11, 22:33] = 1  # from the right lung over the midline
    lesions[4, 6:8, 38:41] = 2  # in the left lung
    found = with_lesions(organ, lesions, SPACING)
    assert set(np.unique(found[2][lesions[2] > 0])) == {RIGHT}
    assert set(np.unique(found[4][lesions[4] > 0])) == {LEFT}
    np.testing.assert_array_equal(found[lesions == 0], organ[lesions == 0])


@pytest.mark.parametrize("columns", [slice(22, 38), slice(28, 32)], ids=["touching both", "touching neither"])
def test_a_lesion_of_both_lungs_or_of_none_is_in_both(columns: slice) -> None:
    organ = np.zeros((5, 20, 60), np.uint8)
    organ[:, 5:15, 5:25], organ[:, 5:15, 35:55] = RIGHT, LEFT
    lesions = np.zeros_like(organ)
    lesions[2, 8:11, columns] = 1
    found = with_lesions(organ, lesions, SPACING)
    for side in (RIGHT, LEFT):
        assert lung_of(found, side)[lesions > 0].all()
