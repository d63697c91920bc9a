import numpy as np
import pytest
from phantoms import brain, ellipse

from common.errors import BadStudyError
from common.imaging.steps.foreground import ct_foreground, mri_foreground

SHAPE = (8, 96, 80)
WITHIN_A_PIXEL = 0.96
"""Least overlap of two heads of this size whose outlines are a pixel apart."""
HEAD = ellipse(SHAPE)


def noisy(image: np.ndarray, sigma: float, seed: int = 1) -> np.ndarray:
    """As a scanner gives it: the magnitude of a signal with Gaussian noise in both channels."""
    rng = np.random.default_rng(seed)
    return np.hypot(image + rng.normal(0, sigma, image.shape), rng.normal(0, sigma, image.shape)).astype(np.float32)


def head() -> np.ndarray:
    """Smooth tissue, and a skin that is brighter, on black."""
    y, x = np.mgrid[-1 : 1 : SHAPE[1] * 1j, -1 : 1 : SHAPE[2] * 1j]
    tissue = 300 + 60 * np.sin(7 * x) * np.cos(5 * y)
    skin = HEAD & ~ellipse(SHAPE, 0.74)
    return np.where(skin, 700, np.where(HEAD, tissue, 0)).astype(np.float32)


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other))


@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("sigma", [5.0, 15.0, 40.0])
def test_air_that_noise_makes_grey_is_no_head(sigma: float, single: bool) -> None:
    found = mri_foreground(noisy(head(), sigma)[None], single=single)
    assert dice(found, HEAD) > WITHIN_A_PIXEL
    assert (found & ~HEAD).sum() < 0.06 * HEAD.sum()  # a pixel around it


@pytest.mark.parametrize(
    "stored",
    [lambda image: image - 500, lambda image: (image - image.mean()) / image.std(), lambda image: 4095 - image],
    ids=["with an offset", "as z-scores", "black for white"],
)
def test_grey_air_is_told_from_the_head_on_whatever_scale_it_is_stored(stored) -> None:
    found = mri_foreground(stored(noisy(head(), 20)).astype(np.float32)[None])
    assert dice(found, HEAD) > WITHIN_A_PIXEL


def test_a_black_border_around_a_turned_picture_does_not_make_its_noise_a_head() -> None:
    image = noisy(head(), 20)
    rows, columns = np.indices(SHAPE[1:])
    image[:, rows + columns < 40] = 0
    image = np.pad(image, ((0, 0), (12, 0), (30, 9)))
    there = np.pad(HEAD & (rows + columns >= 40), ((0, 0), (12, 0), (30, 9)))
    for single in (False, True):
        assert dice(mri_foreground(image[None], single=single), there) > WITHIN_A_PIXEL


def test_the_study_stays_as_it_was() -> None:
    image = noisy(head(), 20) - 500
    before = image.copy()
    mri_foreground(image[None])
    np.testing.assert_array_equal(image, before)


def test_text_in_a_corner_is_no_head() -> None:
    image = noisy(head(), 15)
    image[:, 3:9, 3:30:3] = 2000
    found = mri_foreground(image[None], single=True)
    assert dice(found, HEAD) > WITHIN_A_PIXEL
    assert not found[:, :10, :31].any()


def test_images_without_a_head_show_nothing_and_the_others_are_as_they_would_be_alone() -> None:
    image = noisy(head(), 20)
    image[2] = noisy(np.zeros(SHAPE), 20)[2]
    image[5] = noisy(np.zeros(SHAPE), 20, seed=9)[5]
    found = mri_foreground(image[None], single=True)
    assert found.any(axis=(1, 2)).tolist() == [z not in (2, 5) for z in range(8)]
    assert dice(found[[0, 1, 3, 4, 6, 7]], HEAD[[0, 1, 3, 4, 6, 7]]) > WITHIN_A_PIXEL


@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("step", [0, 1])
def test_a_study_of_noise_alone_is_refused(single: bool, step: int) -> None:
    image = noisy(np.zeros(SHAPE), 80)
    with pytest.raises(BadStudyError, match="nothing stands out"):
        mri_foreground((image.round(-step) if step else image)[None], single=single)


def test_a_patch_of_tissue_without_any_air_is_all_inside() -> None:
    patch = noisy(head(), 10)[:, 30:66, 25:55]
    assert mri_foreground(patch[None], single=True).mean() > 0.95


def test_a_stripped_brain_is_found_as_before_to_the_last_voxel() -> None:
    image = brain(SHAPE)
    np.testing.assert_array_equal(mri_foreground(image[None]), ellipse(SHAPE))
    np.testing.assert_array_equal(mri_foreground(image[None], single=True), ellipse(SHAPE))


def test_the_rings_of_a_compressed_picture_are_no_head() -> None:
    image = head().round()
    near = ellipse(SHAPE, 0.9) & ~HEAD
    image[near] = np.random.default_rng(0).integers(0, 8, near.sum())
    assert dice(mri_foreground(image[None], single=True), HEAD) > WITHIN_A_PIXEL


@pytest.mark.parametrize("single", [False, True])
def test_lung_that_the_pictures_edge_cuts_is_inside_with_its_nodules_and_the_air_around_the_body_is_not(
    single: bool,
) -> None:
    hu = np.full((3, 60, 60), 40.0, np.float32)
    hu[:, :45, 20:] = -860  # lung, up to the edge
    hu[:, 20:26, 40:46] = 30  # a nodule in it
    hu[:, 50:, :10] = -1000  # air in the other corner
    hu += np.random.default_rng(0).normal(0, 12, hu.shape).astype(np.float32)
    air = np.zeros(hu.shape, bool)
    air[:, 50:, :10] = True
    np.testing.assert_array_equal(ct_foreground(hu[None], single=single), ~air)
