"""Whether synthetic images lie where real ones do (precision, density), and everywhere they do (recall, coverage).

One distance cannot tell blurred images from images that leave half of the patients out; these four figures can. Each
set's region is the union of balls around its features that reach to the k-th nearest of the same set. With few
features, or several slices a patient, even real images of other patients reach far less than 1: show theirs beside.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from common.metrics.distances import squared_distances


@dataclass(frozen=True)
class ManifoldScores:
    """Where synthetic features lie, by nearest neighbours.

    Attributes:
        precision: share of synthetic features inside a real ball, 0 to 1. One outlier among the real ones, with its
            large ball, can lift it.
        recall: share of real features inside a synthetic ball, 0 to 1.
        density: in how many real balls a synthetic feature lies, divided by k; 1 on average for two samples of one
            distribution, and may exceed 1. Outliers hardly count.
        coverage: share of real balls that hold a synthetic feature, 0 to 1.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def manifold_scores(real: Tensor, synthetic: Tensor, k: int = 5) -> ManifoldScores:
    """Precision, recall, density and coverage of two feature sets.

    Args:
        real, synthetic: features (N, D) and (M, D), compared by Euclidean distance in float64. Equal numbers make
            precision and recall comparable with each other.
        k: the neighbour that a ball reaches to, not counting its centre.

    Returns:
        The four scores. A feature on the surface of a ball is outside, so that a set with k or more copies of one
        feature has balls of radius 0 there that hold nothing: constant features score 0 throughout.

    Raises:
        ValueError: if k is not between 1 and the smaller set's number less one, sizes differ, or a value is not
            finite.

    Source: precision and recall as improved by Kynkäänniemi et al. 2019; density and coverage of Naeem et al. 2020.

    >>> square = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> manifold_scores(square, square / 10 + 0.45, k=1)
    ManifoldScores(precision=1.0, recall=0.0, density=4.0, coverage=1.0)
    """
    if not 1 <= k < min(len(real), len(synthetic)):
        raise ValueError(f"the {k}th neighbour needs more than {k} features, got {len(real)} and {len(synthetic)}")
    across = squared_distances(real, synthetic)
    real_balls, synthetic_balls = _ball(real, k), _ball(synthetic, k)
    inside_real = across < real_balls[:, None]
    inside_synthetic = across < synthetic_balls
    return ManifoldScores(
        precision=_share(inside_real.any(0)),
        recall=_share(inside_synthetic.any(1)),
        density=float(inside_real.sum(0).double().mean() / k),
        coverage=_share(inside_real.any(1)),
    )


def _ball(features: Tensor, k: int) -> Tensor:
    """(N,) squared distance of each feature to the k-th nearest other one."""
    squared = squared_distances(features, features)
    return squared.fill_diagonal_(torch.inf).kthvalue(k, dim=1).values


def _share(inside: Tensor) -> float:
    return float(inside.double().mean())
