from itertools import combinations

import numpy as np
import pytest
import torch
from sklearn.metrics.pairwise import polynomial_kernel as sklearns_kernel
from torchmetrics.image.kid import KernelInceptionDistance

from common.metrics.frechet import disjoint_halves
from common.metrics.kernel_distance import kernel_distance, kernel_distances_of_subsets, polynomial_kernel


def features(n: int, d: int, seed: int, shift: float = 0.0) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + shift


pytestmark = pytest.mark.filterwarnings("ignore:Metric `Kernel Inception Distance`")


class Given(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def torchmetrics_of(real: torch.Tensor, synthetic: torch.Tensor, subsets: int, size: int) -> tuple[float, float]:
    reference = KernelInceptionDistance(feature=Given(), subsets=subsets, subset_size=size, normalize=True)
    reference.update(real, real=True)
    reference.update(synthetic, real=False)
    mean, spread = reference.compute()
    return mean.item(), spread.item()


def test_the_kernel_equals_scikit_learns():
    a, b = features(5, 12, 1), features(7, 12, 2)
    expected = sklearns_kernel(a.numpy(), b.numpy(), degree=3, gamma=1 / 12, coef0=1)
    np.testing.assert_allclose(polynomial_kernel(a, b).numpy(), expected)


def test_the_distance_of_all_features_equals_torchmetrics():
    real, synthetic = features(60, 24, 1), features(60, 24, 2, shift=0.2)
    expected, _ = torchmetrics_of(real, synthetic, subsets=1, size=60)
    assert kernel_distance(real, synthetic) == pytest.approx(expected, abs=1e-12)


def test_distances_of_the_same_subsets_equal_torchmetrics():
    real, synthetic = features(50, 24, 1), features(70, 24, 2, shift=0.1)
    state = torch.random.get_rng_state()
    try:
        torch.manual_seed(5)
        expected = torchmetrics_of(real, synthetic, subsets=6, size=20)
        torch.manual_seed(5)
        drawn = [(torch.randperm(50)[:20], torch.randperm(70)[:20]) for _ in range(6)]
    finally:
        torch.random.set_rng_state(state)
    ours = [kernel_distance(real[i], synthetic[j]) for i, j in drawn]
    assert (np.mean(ours), np.std(ours)) == pytest.approx(expected, abs=1e-12)


def test_subsets_are_distances_of_features_of_each_set():
    real, synthetic = features(6, 4, 1), features(5, 4, 2, shift=1)
    (whole,) = kernel_distances_of_subsets(real[:5], synthetic, subsets=1, size=5, seed=1)
    assert whole.item() == pytest.approx(kernel_distance(real[:5], synthetic))
    one = kernel_distances_of_subsets(real, synthetic, subsets=1, size=3, seed=1).item()
    possible = [
        kernel_distance(real[list(i)], synthetic[list(j)])
        for i in combinations(range(6), 3)
        for j in combinations(range(5), 3)
    ]
    assert min(abs(one - value) for value in possible) < 1e-12


def test_subsets_repeat_with_their_seed_and_centre_on_the_whole():
    real, synthetic = features(80, 8, 1), features(80, 8, 2, shift=0.5)
    first, again, other = (
        kernel_distances_of_subsets(real, synthetic, subsets=200, size=40, seed=s) for s in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    error = first.std().item() / 200**0.5
    assert first.mean().item() == pytest.approx(kernel_distance(real, synthetic), abs=4 * error)


@pytest.mark.parametrize("n", [4, 40])
def test_two_samples_of_one_distribution_are_0_apart_on_average(n):
    values = [kernel_distance(features(n, 6, 2 * seed), features(n, 6, 2 * seed + 1)) for seed in range(600)]
    assert np.mean(values) == pytest.approx(0, abs=4 * np.std(values) / 600**0.5)
    assert min(values) < 0


def test_halves_of_different_patients_are_about_0_apart():
    owner = np.repeat(np.arange(40), 3)
    real = features(120, 16, 1)
    floor = np.mean([kernel_distance(real[a], real[b]) for a, b in disjoint_halves(owner, seed=1)])
    assert abs(floor) < 0.1 * kernel_distance(real, features(120, 16, 2, shift=0.5))


def test_constant_features_are_0_apart_and_others_further():
    same = torch.full((5, 8), 0.3)
    assert kernel_distance(same, same) == pytest.approx(0, abs=1e-12)
    assert kernel_distance(same, same + 1) > 0.1


def test_large_single_precision_features_are_summed_in_double():
    real, synthetic = features(200, 16, 1).float() + 50, features(200, 16, 1).float().flip(0) + 50
    shifted = kernel_distance(real, synthetic)
    k = (real.double() @ real.double().T / 16 + 1) ** 3
    expected = 2 * (k.sum() - k.trace()) / (200 * 199) - 2 * k.mean()
    assert shifted == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        (torch.zeros(1, 4), "at least two"),
        (torch.zeros(4), "at least two"),
        (torch.zeros(5, 3), "of size"),
        (torch.full((5, 4), torch.nan), "not finite"),
    ],
)
def test_sets_that_cannot_be_compared_are_refused(bad, text):
    with pytest.raises(ValueError, match=text):
        kernel_distance(torch.randn(5, 4, generator=torch.Generator().manual_seed(1)), bad)


@pytest.mark.parametrize("size", [1, 6])
def test_subsets_of_an_impossible_size_are_refused(size):
    with pytest.raises(ValueError, match=f"subsets of {size}"):
        kernel_distances_of_subsets(features(8, 4, 1), features(5, 4, 2), subsets=3, size=size, seed=1)
