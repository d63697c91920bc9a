"""The Fréchet distance between two sets of features, exact and stable, and its real-against-real floor."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from common.seeding import Label, numpy_generator


@dataclass(frozen=True)
class Moments:
    """A Gaussian fitted to features.

    Attributes:
        n: how many features it was fitted to.
        mean: (D,) float64.
        covariance: (D, D) float64, divided by n - 1.
    """

    n: int
    mean: Tensor
    covariance: Tensor

    @staticmethod
    def of(features: Tensor) -> "Moments":
        """Mean and covariance of features (N, D), summed in float64.

        Raises:
            ValueError: if there are fewer than two.
        """
        features = _checked(features)
        mean = features.mean(0)
        centred = features - mean
        return Moments(len(features), mean, centred.T @ centred / (len(features) - 1))


def frechet_distance(real: Moments, synthetic: Moments) -> float:
    """Squared Fréchet distance between two Gaussians fitted to features.

    Args:
        real, synthetic: count n, mean (D,) and covariance (D, D) in float64.

    Returns:
        A distance >= 0 in squared feature units. Biased upward for small n: print it beside the real-against-real
        floor (over :func:`disjoint_halves`).

    Raises:
        ValueError: if n < 2 or the feature sizes differ.

    Source: Dowson and Landau 1982; for images Heusel et al. 2017. The trace of (S1 S2)^1/2 is summed from the
    eigenvalues of the symmetric S1^1/2 S2 S1^1/2, which cannot be complex.
    """
    if min(real.n, synthetic.n) < 2 or real.mean.shape != synthetic.mean.shape:
        raise ValueError(
            f"cannot compare {real.n} features of size {len(real.mean)} "
            f"with {synthetic.n} of size {len(synthetic.mean)}"
        )
    values, vectors = torch.linalg.eigh(real.covariance)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    cross = torch.linalg.eigvalsh(root @ synthetic.covariance @ root).clamp(min=0).sqrt().sum()
    apart = (real.mean - synthetic.mean).square().sum()
    distance = apart + real.covariance.trace() + synthetic.covariance.trace() - 2 * cross
    return max(0.0, float(distance))


def frechet_distance_of(real: Tensor, synthetic: Tensor) -> float:
    """:func:`frechet_distance` of the moments of two feature sets (N, D) and (M, D), the cheaper of two exact ways.

    With fewer features than dimensions the covariances have low rank: with centred rows A and B, scaled so that
    S1 = A'A and S2 = B'B, the trace of (S1 S2)^1/2 is the sum of the singular values of the N x M matrix AB'.

    >>> generator = torch.Generator().manual_seed(0)
    >>> features = torch.randn(10, 32, generator=generator)
    >>> round(frechet_distance_of(features, features + 1), 6)
    32.0

    Raises:
        ValueError: if a set has fewer than two features or their sizes differ.
    """
    real, synthetic = _checked(real), _checked(synthetic)
    if real.shape[1] != synthetic.shape[1]:
        raise ValueError(f"features of size {real.shape[1]} against features of size {synthetic.shape[1]}")
    if min(len(real), len(synthetic)) >= real.shape[1]:
        return frechet_distance(Moments.of(real), Moments.of(synthetic))
    a = (real - real.mean(0)) / (len(real) - 1) ** 0.5
    b = (synthetic - synthetic.mean(0)) / (len(synthetic) - 1) ** 0.5
    cross = torch.linalg.svdvals(a @ b.T).sum()
    apart = (real.mean(0) - synthetic.mean(0)).square().sum()
    return max(0.0, float(apart + a.square().sum() + b.square().sum() - 2 * cross))


def disjoint_halves(
    group: npt.NDArray[np.int64], seed: int, draws: int = 4
) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Pairs of equally long position lists whose groups (patients) are disjoint, one pair a draw.

    A distance between generated images and the very images they were made from would lie below any floor. Comparing
    the images generated for one half of the patients with the real images of the other half, and the real images of
    both halves for the floor, makes a perfect generator equal to the floor.

    Args:
        group: (N,) the patient of each feature.

    Patients are dealt in random order, each to the side that has fewer images so far; of the longer side, images are
    left out at random.

    Returns:
        ``draws`` pairs (real, other) of ascending positions, all of them of one length.

    Raises:
        ValueError: with fewer than two groups.
    """
    names, index = np.unique(group, return_inverse=True)
    if len(names) < 2:
        raise ValueError("halves of different patients need at least two patients")
    random = numpy_generator(seed, Label.DISJOINT_HALVES)
    sizes = np.bincount(index)
    pairs = []
    for _ in range(draws):
        side = np.zeros(len(names), dtype=np.int64)
        filled = np.zeros(2, dtype=np.int64)
        first = random.integers(2)
        for name in random.permutation(len(names)):
            side[name] = first if filled[0] == filled[1] else filled.argmin()
            filled[side[name]] += sizes[name]
        pairs.append([random.permutation(np.flatnonzero(side[index] == half)) for half in (0, 1)])
    n = min(len(half) for pair in pairs for half in pair)
    return [(np.sort(real[:n]), np.sort(other[:n])) for real, other in pairs]


def _checked(features: Tensor) -> Tensor:
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(f"expected at least two features (N, D), got {tuple(features.shape)}")
    return features.detach().double()
