import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from common.metrics.normalised import blurred, normalised_distance


def images(size: int) -> torch.Tensor:
    return torch.rand(2, 2, size, size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("size", "sigma"), [(32, 1), (64, 2), (128, 4)])
def test_the_blur_equals_scipys_gaussian_of_a_32nd_of_the_image(size, sigma):
    given = images(size)
    expected = [[gaussian_filter(c, sigma, mode="mirror", truncate=3) for c in i] for i in given.double().numpy()]
    np.testing.assert_allclose(blurred(given).numpy(), np.array(expected), atol=1e-5)


def test_the_same_picture_is_blurred_alike_at_every_size():
    y, x = torch.meshgrid(*[torch.linspace(0, 1, 257)[:-1] + 1 / 512] * 2, indexing="ij")
    large = (0.5 + 0.25 * torch.sin(12 * x) * torch.cos(17 * y) + 0.25 * (x > 0.5))[None, None]
    small = torch.nn.functional.avg_pool2d(large, 4)
    torch.testing.assert_close(torch.nn.functional.avg_pool2d(blurred(large), 4), blurred(small), atol=0.02, rtol=0)


def test_blurred_images_keep_their_range_and_their_proportions_on_rectangles():
    given = images(64)[..., :40]
    made = blurred(given)
    assert made.shape == given.shape
    assert made.min() >= 0
    assert made.max() <= 1
    expected = gaussian_filter(given[0, 0].double().numpy(), 40 / 32, mode="mirror", radius=4)
    np.testing.assert_allclose(made[0, 0].numpy(), expected, atol=1e-5)


def test_real_is_0_blurred_is_1_and_nothing_is_cut_off():
    assert [normalised_distance(d, 10, 50) for d in (10, 50, 30, 90, 6)] == [0, 1, 0.5, 2, -0.1]


def test_the_scale_of_the_features_does_not_matter():
    assert normalised_distance(3e5, 1e5, 9e5) == pytest.approx(normalised_distance(3e-5, 1e-5, 9e-5))


@pytest.mark.parametrize("blurred", [0, 9, 10, 12.5])
def test_where_blurred_images_lie_at_the_floor_nothing_is_said(blurred):
    assert normalised_distance(30, 10, blurred) is None


def test_where_all_images_are_the_same_nothing_is_said():
    assert normalised_distance(0, 0, 0) is None


@pytest.mark.parametrize("bad", [-1, float("nan"), float("inf")])
def test_what_is_no_distance_is_refused(bad):
    with pytest.raises(ValueError, match="expected distances"):
        normalised_distance(bad, 10, 50)
    with pytest.raises(ValueError, match="expected distances"):
        normalised_distance(10, 1, bad)
