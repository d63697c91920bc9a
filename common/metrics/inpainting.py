"""Biharmonic inpainting: the smoothest continuation of the surroundings, and so the floor for a generated lesion."""

import numpy as np
import torch
from skimage.restoration import inpaint_biharmonic
from torch import Tensor

RIM = 3
"""Known pixels kept around a region: the biharmonic stencil reaches two pixels out."""


def biharmonic(images: Tensor, region: Tensor) -> Tensor:
    """Each image with its region filled in from the pixels around it.

    Args:
        images: (B, C, H, W) float in [0, 1]; what lies inside the region is not looked at.
        region: (B, H, W) bool.

    Returns:
        (B, C, H, W) float32; equal to ``images`` outside the region. An image with an empty region is unchanged.

    Raises:
        ValueError: if a region covers its whole image, so that there is nothing to continue.

    Source: Damelin and Hoang 2018, through scikit-image; values are limited to those seen around the region.
    """
    if bool(region.flatten(1).all(1).any()):
        raise ValueError("a region covers the whole image: there are no surroundings to inpaint from")
    filled = images.detach().cpu().float().clone()
    height, width = region.shape[-2:]
    for image, mask in zip(filled.numpy(), region.cpu().numpy(), strict=True):
        if not mask.any():
            continue
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        crop = (
            slice(max(0, rows[0] - RIM), min(height, rows[-1] + RIM + 1)),
            slice(max(0, columns[0] - RIM), min(width, columns[-1] + RIM + 1)),
        )
        known = np.where(mask[crop], 0, image[:, *crop]).astype(np.float64)
        repaired = inpaint_biharmonic(known, mask[crop], channel_axis=0)
        image[:, *crop] = np.where(mask[crop], repaired, image[:, *crop])
    return torch.clamp(filled, 0, 1)
