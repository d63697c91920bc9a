"""Weights compared bit for bit."""

from collections.abc import Mapping

import torch


def equal(a: Mapping[str, torch.Tensor], b: Mapping[str, torch.Tensor]) -> bool:
    """Whether both hold the same values under the same names."""
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
