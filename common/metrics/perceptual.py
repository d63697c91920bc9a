"""How alike two images look to a frozen network: distance of its unit-length feature maps, place by place."""

from collections.abc import Sequence
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from common.features.efficientnet import EfficientNetLite0, efficientnet_lite0
from common.features.frozen import split_contrasts

LAYERS = ("block0", "block2", "block4", "block7")
"""Maps at 1/2, 1/4, 1/8 and 1/16 of the image's size."""

BATCH = 32


def perceptual_by_region(a: Tensor, b: Tensor, masks: Sequence[Tensor | None]) -> list[Tensor]:
    """Perceptual distance of each image of ``a`` from its counterpart in ``b``, for several masks of the same images.

    At every place and layer, the feature vectors of both images are scaled to unit length and their squared difference
    is summed over channels; layers weigh alike. This is LPIPS without its learnt weights, which were fitted to people's
    judgements of photographs, on a network that ships with its package.

    Args:
        a, b: (B, C, H, W) in [0, 1]; contrasts are averaged.
        masks: (B, H, W) bool each, the pixels that count; None for all of them.

    Returns:
        (B,) float64 for each mask, from 0 (equal) to 4. NaN where a mask is empty.

    Raises:
        ValueError: if shapes differ.

    Source: Zhang et al. 2018 (LPIPS).
    """
    if a.shape != b.shape or a.ndim != 4:
        raise ValueError(f"expected two equal shapes (B, C, H, W), got {tuple(a.shape)} and {tuple(b.shape)}")
    parts = [_maps(a[start : start + BATCH], b[start : start + BATCH]) for start in range(0, len(a), BATCH)]
    local = torch.cat(parts) if parts else torch.zeros(0, *a.shape[-2:], dtype=torch.float64)
    return [
        local.flatten(1).mean(1)
        if mask is None
        else torch.where(mask, local, 0).flatten(1).sum(1) / mask.flatten(1).sum(1)
        for mask in masks
    ]


def _maps(a: Tensor, b: Tensor) -> Tensor:
    """(B, H, W) float64: the distance at each pixel."""
    network, (rows, columns) = _network(), a.shape[-2:]
    with torch.inference_mode():
        pairs = zip(*(network.feature_maps(split_contrasts(images.float()), LAYERS) for images in (a, b)), strict=True)
        total = torch.zeros(len(a) * a.shape[1], 1, rows, columns)
        for one, other in pairs:
            apart = (F.normalize(one, dim=1) - F.normalize(other, dim=1)).square().sum(1, keepdim=True)
            total += F.interpolate(apart, (rows, columns), mode="bilinear", align_corners=False) / len(LAYERS)
    return total.view(len(a), -1, rows, columns).mean(1).double().clone()


@cache
def _network() -> EfficientNetLite0:
    return efficientnet_lite0()
