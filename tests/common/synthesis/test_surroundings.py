import numpy as np
import torch
from scipy.ndimage import uniform_filter

from common.synthesis.surroundings import REACH, surroundings


def test_is_the_normalised_convolution_of_the_known_pixels() -> None:
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(2, 1, 24, 24, generator=generator)
    region = (torch.rand(2, 1, 24, 24, generator=generator) < 0.3).float()
    made = surroundings(images, region)

    def twice(plane: np.ndarray) -> np.ndarray:
        once = uniform_filter(plane, REACH, mode="constant")
        return uniform_filter(once, REACH, mode="constant")

    for image, hole, result in zip(images, region, made, strict=True):
        known = 1 - hole[0].double().numpy()
        expected = twice(image[0].double().numpy() * known) / twice(known)
        assert np.abs(result[0].numpy() - expected).max() < 1e-3


def test_what_is_inside_the_region_has_no_influence() -> None:
    images, region = torch.rand(1, 2, 16, 16), torch.zeros(1, 1, 16, 16)
    region[..., 4:12, 4:12] = 1
    hidden = torch.where(region > 0, torch.full_like(images, float("nan")), images)
    assert torch.equal(surroundings(images, region), surroundings(hidden, region))


def test_deep_inside_a_region_it_is_the_mean_of_all_that_is_known() -> None:
    images, region = torch.full((1, 1, 64, 64), 0.25), torch.ones(1, 1, 64, 64)
    images[..., :32], region[..., :1], region[..., -1:] = 0.75, 0, 0
    assert torch.allclose(surroundings(images, region)[..., 32], torch.tensor(0.5), atol=1e-4)
    assert torch.allclose(surroundings(images, region)[..., 2], torch.tensor(0.75), atol=1e-3)


def test_without_a_known_pixel_it_is_dark_and_finite() -> None:
    assert torch.equal(surroundings(torch.rand(1, 1, 8, 8), torch.ones(1, 1, 8, 8)), torch.zeros(1, 1, 8, 8))
