"""Putting what a generator made back into the slice it belongs to."""

import torch
from torch import Tensor

from common.synthesis.blanking import Windows


def compose(generated: Tensor, original: Tensor, region: Tensor) -> Tensor:
    """(N, C, H, W): ``generated`` inside ``region`` (N, H, W), ``original`` outside it, bit for bit."""
    return torch.where(region.unsqueeze(1), generated, original)


def insert(crops: Tensor, windows: Windows, original: Tensor, region: Tensor) -> Tensor:
    """(N, C, H, W): slices with generated crops (N, C, size, size) pasted inside ``region`` (N, H, W).

    Every pixel outside the region keeps exactly its value, also within the window.
    """
    return compose(windows.paste(crops.to(original), original), original, region)
