import numpy as np
import pytest
from phantoms import brain, ellipse
from scipy import ndimage
from skimage import measure

from common.errors import BadStudyError
from common.imaging.steps.foreground import (
    bounding_box,
    ct_foreground,
    foreground_share,
    labels_inside,
    large_parts,
    mri_foreground,
    solid,
)
from common.imaging.steps.intensity import z_score


def test_foreground_is_the_brain_despite_specks_ringing_and_dark_holes() -> None:
    inside = ellipse((10, 48, 40))
    image = brain()
    image[:, 20:24, 18:22] = 0  # a dark ventricle, open at both ends of the slab
    image[0, 1, 1] = 900  # a speck in a corner
    image[5, 2, 20] = -30  # ringing outside the brain
    np.testing.assert_array_equal(mri_foreground(image[None]), inside)


def test_foreground_is_the_same_on_a_background_that_is_not_zero() -> None:
    image = brain()
    np.testing.assert_array_equal(mri_foreground(image[None] - 7), mri_foreground(image[None]))
    noisy = image + np.random.default_rng(1).uniform(-3, 3, image.shape).astype(np.float32)
    np.testing.assert_array_equal(mri_foreground(noisy[None]), mri_foreground(image[None]))


def test_foreground_of_a_study_stored_as_z_scores_keeps_the_tissue_below_zero() -> None:
    inside = ellipse((10, 48, 40))
    scored = np.where(inside, z_score(brain(), inside), 0).astype(np.float32)
    assert (scored > 0).mean() < 0.6 * inside.mean()
    assert (mri_foreground(scored[None]) != inside).mean() < 0.01


def test_foreground_is_what_any_contrast_shows() -> None:
    first, second = brain(), brain()
    first[:, :, :20] = 0
    second[:, :, 20:] = 0
    np.testing.assert_array_equal(mri_foreground(np.stack([first, second])), ellipse((10, 48, 40)))


def test_two_large_parts_both_count() -> None:
    mask = np.zeros((1, 20, 20), bool)
    mask[:, 2:8, 2:8] = True
    mask[:, 12:18, 12:18] = True
    mask[0, 0, 19] = True
    kept = solid(mask)
    assert kept.sum() == 72
    assert not kept[0, 0, 19]


@pytest.mark.parametrize("shape", [(3, 30, 40), (4, 1, 25), (2, 25, 1), (1, 2, 2), (5, 7, 3)])
@pytest.mark.parametrize("share", [0.4, 0.6, 0.8])
def test_large_parts_and_the_holes_of_a_slice_are_those_that_scipy_finds(shape: tuple[int, ...], share: float) -> None:
    mask = np.random.default_rng(3).random(shape) < share
    mask[0, 0, 0] = True
    parts, count = ndimage.label(mask)
    sizes = ndimage.sum(mask, parts, np.arange(1, count + 1))
    expected = np.isin(parts, 1 + np.flatnonzero(sizes >= 0.1 * sizes.max()))
    expected = np.stack([ndimage.binary_fill_holes(plane) for plane in expected])
    before = mask.copy()
    np.testing.assert_array_equal(solid(mask), expected)
    np.testing.assert_array_equal(mask, before)


def test_parts_of_a_large_volume_are_those_that_scikit_image_finds() -> None:
    rng = np.random.default_rng(0)
    mask = rng.random((16, 257, 255)) > 0.9999
    mask[2:14, 20:121, 31:150] = True
    mask[2:9, 140:201, 31:130] = True
    mask[2:5, 230:240, 200:210] = True
    labels = measure.label(mask, connectivity=1)
    sizes = np.bincount(labels.ravel())
    expected = np.isin(labels, [n for n in range(1, len(sizes)) if sizes[n] >= 0.1 * sizes[1:].max()])
    found = large_parts(mask)
    assert found[expected].all()
    assert (found != expected).sum() < 20  # specks that touch a part
    assert expected.sum() < mask.sum()


def test_body_on_ct_includes_the_lungs_but_not_the_air_around() -> None:
    inside = ellipse((6, 40, 40))
    image = np.where(inside, 40.0, -1000.0).astype(np.float32)
    image[:, 15:25, 15:25] = -850
    np.testing.assert_array_equal(ct_foreground(image[None]), inside)


def test_body_on_ct_that_was_stored_windowed_is_still_found() -> None:
    inside = ellipse((6, 40, 40))
    image = np.where(inside, 40.0, -100.0).astype(np.float32)
    np.testing.assert_array_equal(ct_foreground(image[None]), inside)


def test_an_image_without_anything_is_refused() -> None:
    for find in (mri_foreground, ct_foreground):
        with pytest.raises(BadStudyError, match="nothing stands out"):
            find(np.full((1, 4, 20, 20), -1000, np.float32))


def test_cropping_agrees_with_monai() -> None:
    from monai.transforms import CropForeground

    image = brain()
    box = bounding_box(image > 0)
    np.testing.assert_array_equal(image[box], np.asarray(CropForeground()(image[None]))[0])


def test_labels_outside_the_foreground_are_dropped_and_a_mask_mostly_outside_is_refused() -> None:
    inside = ellipse((10, 48, 40))
    labels = np.zeros(inside.shape, np.uint8)
    labels[5, 20:30, 20:30] = 2
    labels[5, 0, 0] = 1
    kept = labels_inside(labels, inside)
    assert kept[5, 0, 0] == 0
    assert kept.sum() == 200
    with pytest.raises(BadStudyError, match="outside the foreground"):
        labels_inside(np.asarray(~inside, dtype=np.uint8), inside)
    assert labels_inside(np.zeros_like(labels), inside).sum() == 0


def test_foreground_share_counts_pixels() -> None:
    mask = np.zeros((2, 4, 5), bool)
    mask[1, :2] = True
    assert foreground_share(mask).tolist() == [0, 0.5]
