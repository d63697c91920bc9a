"""Squared Euclidean distances between all rows of two matrices, by one matrix product."""

from torch import Tensor

DUPLICATE = 1e-12
"""Below this share of both rows' squared lengths a squared distance is rounding, and given as exactly 0."""


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """(N, M) float64: the squared distance of each row of ``a`` (N, D) to each row of ``b`` (M, D).

    Both are centred on ``b`` first, because |x|^2 + |y|^2 - 2xy loses digits where rows lie far from the origin and
    close to each other. Rows that agree to one part in a million of their (centred) length count as equal.

    Raises:
        ValueError: if these are not two non-empty matrices of one width, or a value is not finite.

    >>> import torch
    >>> squared_distances(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [[25.0, 0.0]]
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or not len(a) or not len(b):
        raise ValueError(f"expected rows (N, D) and (M, D), got {tuple(a.shape)} and {tuple(b.shape)}")
    a, b = a.detach().double(), b.detach().double()
    centre = b.mean(0)
    a, b = a - centre, b - centre
    scale = a.square().sum(1)[:, None] + b.square().sum(1)
    if not scale.isfinite().all():
        raise ValueError("a value is not finite")
    squared = scale - 2 * (a @ b.T)
    return squared.where(squared > DUPLICATE * scale, 0)
