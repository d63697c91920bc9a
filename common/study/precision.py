"""Losses are taken in float32 where a network ran in bfloat16, and in the network's own precision otherwise."""

import torch
from torch import Tensor


def full_precision(values: Tensor) -> Tensor:
    """``values`` in float32 if they are half precision, otherwise unchanged.

    >>> full_precision(torch.zeros(1, dtype=torch.bfloat16)).dtype, full_precision(torch.zeros(1).double()).dtype
    (torch.float32, torch.float64)
    """
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values
