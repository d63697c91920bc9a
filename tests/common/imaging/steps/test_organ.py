import numpy as np
import pytest
from phantoms import thorax

from common.errors import BadStudyError
from common.imaging.steps.lung_sides import LEFT, RIGHT
from common.imaging.steps.organ import lungs, whole


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other))


def test_the_lungs_are_found_with_their_nodule_and_vessel_and_told_apart() -> None:
    chest = thorax()
    found = lungs(chest.hu, chest.body, chest.spacing, np.zeros(chest.hu.shape, np.uint8))
    assert found.dtype == np.uint8
    assert dice(found == RIGHT, chest.right) > 0.95
    assert dice(found == LEFT, chest.left) > 0.95
    assert (found[chest.nodule] == RIGHT).mean() > 0.8


def test_windpipe_stomach_gas_and_the_air_around_the_body_are_no_lung() -> None:
    chest = thorax()
    found = lungs(chest.hu, chest.body, chest.spacing, np.zeros(chest.hu.shape, np.uint8)) > 0
    assert found[chest.windpipe].mean() < 0.1
    assert found[~chest.body].sum() == 0
    assert (found & ~(chest.right | chest.left)).sum() < 0.05 * found.sum()


def test_a_lesion_belongs_to_the_lungs_wherever_it_is() -> None:
    chest = thorax()
    lesion = np.zeros(chest.hu.shape, np.uint8)
    lesion[28, 58:62, 74:78] = 1  # between the lungs
    found = lungs(chest.hu, chest.body, chest.spacing, lesion)
    assert (found[lesion > 0] > 0).all()


def test_lungs_that_touch_are_cut_where_they_are_narrowest() -> None:
    chest = thorax()
    hu = chest.hu.copy()
    hu[20:36, 58:64, 60:90] = -850  # a bridge in front of the heart
    found = lungs(hu, chest.body, chest.spacing, np.zeros(hu.shape, np.uint8))
    assert dice(found == RIGHT, chest.right) > 0.9
    assert dice(found == LEFT, chest.left) > 0.9


@pytest.mark.parametrize("spacing", [(5.0, 2.0, 2.0), (1.0, 0.7, 0.7)])
def test_lungs_are_found_on_any_grid(spacing: tuple[float, float, float]) -> None:
    chest = thorax()
    picked = np.ix_(
        *(np.arange(0, n * 2.0, mm).astype(int) // 2 for n, mm in zip(chest.hu.shape, spacing, strict=True))
    )
    hu = chest.hu[picked]
    found = lungs(hu, chest.body[picked], spacing, np.zeros(hu.shape, np.uint8))
    assert dice(found > 0, (chest.right | chest.left)[picked]) > 0.93


def test_a_single_slice_is_enough() -> None:
    chest = thorax()
    found = lungs(chest.hu[28:29], chest.body[28:29], chest.spacing, np.zeros((1, *chest.hu.shape[1:]), np.uint8))
    assert dice(found == RIGHT, chest.right[28:29]) > 0.93


def test_an_image_without_lungs_is_refused() -> None:
    chest = thorax()
    hu = np.where(chest.body, 40, -1000).astype(np.float32)
    with pytest.raises(BadStudyError, match="no lungs"):
        lungs(hu, chest.body, chest.spacing, np.zeros(hu.shape, np.uint8))


def test_an_outline_takes_in_its_lesions_and_ends_at_the_body() -> None:
    outline = np.zeros((1, 4, 4), np.uint8)
    outline[0, 1:3, 1:3] = 7
    lesions = np.zeros_like(outline)
    lesions[0, 3, 3] = 1
    inside = np.ones(outline.shape, bool)
    inside[0, 1, 1] = False
    organ = whole(outline, lesions, inside)
    assert organ.sum() == 4
    assert (organ[0, 3, 3], organ[0, 1, 1]) == (1, 0)
