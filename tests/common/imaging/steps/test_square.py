import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from common.imaging.steps.square import fit_to_square


def test_images_are_resized_as_pillow_does_with_antialiasing() -> None:
    image = np.random.default_rng(0).random((96, 96)).astype(np.float32)
    for size in (32, 160):
        theirs = np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR))
        np.testing.assert_allclose(fit_to_square(image, size, (1.0, 1.0), "area"), theirs, atol=1e-5)


def test_masks_are_resized_as_pillow_does_to_the_nearest() -> None:
    labels = np.random.default_rng(0).choice([0, 1, 2, 4], (90, 90)).astype(np.uint8)
    for size in (32, 160):
        theirs = np.asarray(Image.fromarray(labels).resize((size, size), Image.Resampling.NEAREST))
        np.testing.assert_array_equal(fit_to_square(labels, size, (1.0, 1.0), "nearest"), theirs)


@pytest.mark.parametrize(("height", "width"), [(1, 7), (37, 50), (96, 64), (200, 199), (300, 301)])
def test_masks_are_resized_as_torch_does_to_the_nearest_exactly(height: int, width: int) -> None:
    masks = np.random.default_rng(1).choice([0, 1, 2, 4], (3, height, width)).astype(np.uint8)
    side = max(height, width)
    shape = max(1, round(height / side * 64)), max(1, round(width / side * 64))
    theirs = F.interpolate(torch.from_numpy(masks)[:, None], shape, mode="nearest-exact")[:, 0].numpy()
    ours = fit_to_square(masks, 64, (1.0, 1.0), "nearest")
    top, left = (64 - shape[0]) // 2, (64 - shape[1]) // 2
    np.testing.assert_array_equal(ours[:, top : top + shape[0], left : left + shape[1]], theirs)


def test_image_and_mask_stay_aligned_when_resized() -> None:
    mask = np.zeros((1, 120, 80), np.uint8)
    mask[0, 30:70, 20:60] = 1
    for size in (64, 256):
        image = fit_to_square(mask.astype(np.float32), size, (1.0, 1.0), "area")
        labels = fit_to_square(mask, size, (1.0, 1.0), "nearest")
        centre = [np.average(np.indices((size, size))[axis], weights=image[0]) for axis in (0, 1)]
        expected = [np.average(np.indices((size, size))[axis], weights=labels[0]) for axis in (0, 1)]
        np.testing.assert_allclose(centre, expected, atol=0.5)


def test_a_rectangle_is_centred_in_its_square() -> None:
    square = fit_to_square(np.ones((2, 20, 10), np.float32), 40, (1.0, 1.0), "area")
    assert square.shape == (2, 40, 40)
    assert square[:, :, 10:30].min() == 1
    assert square.sum() == 2 * 40 * 20


def test_pixels_of_unequal_sides_become_square() -> None:
    square = fit_to_square(np.ones((1, 20, 20), np.float32), 40, (2.0, 1.0), "area")
    assert square.sum() == 40 * 20
    assert square[0, :, 10:30].min() == 1
