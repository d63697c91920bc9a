"""The sliced Wasserstein distance needs no network and sees texture."""

import pytest
import torch
from scipy.stats import wasserstein_distance
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from common.metrics import sliced
from common.metrics.sliced import sliced_wasserstein
from common.seeding import torch_generator


def sample(seed: int, count: int = 12, size: int = 64) -> Tensor:
    noise = torch.rand(count, 1, size, size, generator=torch.Generator().manual_seed(seed))
    return gaussian_blur(noise, [5, 5], [1.0, 1.0])


def test_samples_of_one_distribution_are_near_and_blurred_or_grainy_ones_are_not() -> None:
    real, other = sample(1), sample(2)
    floor = sliced_wasserstein(real, other)
    assert 0 < floor < 80
    assert sliced_wasserstein(real, gaussian_blur(other, [9, 9], [2.0, 2.0])) > 3 * floor
    grainy = other + 0.05 * torch.randn(other.shape, generator=torch.Generator().manual_seed(3))
    assert sliced_wasserstein(real, grainy) > 2 * floor


def test_it_is_symmetric_and_the_same_again() -> None:
    one, other = sample(1), sample(2)
    assert sliced_wasserstein(one, other) == sliced_wasserstein(one, other)
    assert sliced_wasserstein(one, other) == pytest.approx(sliced_wasserstein(other, one))


def test_along_each_direction_it_is_the_distance_that_scipy_computes() -> None:
    """Of images too small for a second level, with one direction."""
    one, other = sample(1, size=20), sample(2, size=20)
    random = torch_generator(sliced.SEED, "places and directions")
    rows, columns = (torch.randint(20 - sliced.PATCH + 1, (sliced.PATCHES,), generator=random) for _ in range(2))
    patches = [sliced._patches(images.double(), rows, columns) for images in (one, other)]
    both = torch.cat(patches)
    directions = torch.randn(49, sliced.DIRECTIONS, generator=random, dtype=torch.float64)
    directions /= directions.norm(dim=0)
    projected = [((part - both.mean()) / both.std()) @ directions for part in patches]
    expected = [wasserstein_distance(a.numpy(), b.numpy()) for a, b in zip(*(p.T for p in projected), strict=True)]
    assert sliced_wasserstein(one, other) == pytest.approx(1000 * sum(expected) / len(expected))


def test_sets_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="equal shapes"):
        sliced_wasserstein(sample(1), sample(2, count=3))
    with pytest.raises(ValueError, match="equal shapes"):
        sliced_wasserstein(torch.zeros(2, 1, 4, 4), torch.zeros(2, 1, 4, 4))
