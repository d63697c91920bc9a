"""The kernel distance between two sets of features: unbiased, however few there are.

With the standard Inception features it is the Kernel Inception Distance (KID). A Fréchet distance has a floor that
grows as the sets shrink; this one is 0 on average for two samples of one distribution, and may come out negative.
That holds for independent images. Several slices a patient are alike, which lifts the figure of real against real
images of other patients above 0: a floor is needed here too.
"""

import torch
from torch import Tensor

from common.seeding import Label, torch_generator


def polynomial_kernel(a: Tensor, b: Tensor) -> Tensor:
    """(N, M): (x y / D + 1)^3 of each row of ``a`` (N, D) with each row of ``b`` (M, D).

    >>> polynomial_kernel(torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0, 7.0]])).tolist()
    [[8.0]]
    """
    return (a @ b.T / a.shape[1] + 1) ** 3


def kernel_distance(real: Tensor, synthetic: Tensor) -> float:
    """The unbiased estimate of the squared maximum mean discrepancy under :func:`polynomial_kernel`, from all pairs.

    Args:
        real, synthetic: features (N, D) and (M, D); summed in float64. Memory grows as (N + M)^2.

    Returns:
        0 on average for two samples of one distribution, and so negative about half the time; larger is further. Its
        scale depends on the features'.

    Raises:
        ValueError: if a set has fewer than two features, their sizes differ, or a value is not finite.

    Source: Bińkowski et al. 2018, eq. 4 with the kernel of section 4; Gretton et al. 2012, lemma 6.
    """
    real, synthetic = _checked(real), _checked(synthetic)
    _check_sizes(real, synthetic)
    within_real, within_synthetic = polynomial_kernel(real, real), polynomial_kernel(synthetic, synthetic)
    return float(_discrepancy(within_real, within_synthetic, polynomial_kernel(real, synthetic)))


def kernel_distances_of_subsets(real: Tensor, synthetic: Tensor, *, subsets: int, size: int, seed: int) -> Tensor:
    """(subsets,) float64: :func:`kernel_distance` of random subsets of ``size`` features of both sets, drawn without
    replacement.

    Their standard deviation is the spread that is printed beside a KID. It is that of a sample of ``size``; the
    estimate from all features varies less.

    Raises:
        ValueError: as :func:`kernel_distance`, or if a set has fewer than ``size`` features.
    """
    real, synthetic = _checked(real), _checked(synthetic)
    _check_sizes(real, synthetic)
    if not 2 <= size <= min(len(real), len(synthetic)):
        raise ValueError(f"subsets of {size} cannot be drawn from {len(real)} and {len(synthetic)} features")
    within_real, within_synthetic = polynomial_kernel(real, real), polynomial_kernel(synthetic, synthetic)
    across = polynomial_kernel(real, synthetic)
    random = torch_generator(seed, Label.KERNEL_DISTANCE, len(real), len(synthetic))
    distances = []
    for _ in range(subsets):
        i = torch.randperm(len(real), generator=random)[:size]
        j = torch.randperm(len(synthetic), generator=random)[:size]
        distances.append(_discrepancy(within_real[i][:, i], within_synthetic[j][:, j], across[i][:, j]))
    return torch.stack(distances) if distances else torch.zeros(0, dtype=torch.float64)


def _discrepancy(within_a: Tensor, within_b: Tensor, across: Tensor) -> Tensor:
    """Mean kernel of different rows within each set, less twice the mean between the sets."""
    n, m = across.shape
    own_a = (within_a.sum() - within_a.diagonal().sum()) / (n * (n - 1))
    own_b = (within_b.sum() - within_b.diagonal().sum()) / (m * (m - 1))
    return own_a + own_b - 2 * across.mean()


def _checked(features: Tensor) -> Tensor:
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(f"expected at least two features (N, D), got {tuple(features.shape)}")
    if not features.isfinite().all():
        raise ValueError("a feature is not finite")
    return features.detach().double()


def _check_sizes(real: Tensor, synthetic: Tensor) -> None:
    if real.shape[1] != synthetic.shape[1]:
        raise ValueError(f"features of size {real.shape[1]} against features of size {synthetic.shape[1]}")
