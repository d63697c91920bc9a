"""How alike a generated and a real image are: structural similarity and peak signal-to-noise ratio, image by image.

Both take a mask, so that a region is judged by itself. A whole medical slice is mostly black background and copied
surroundings, which lift both figures without saying anything about what was generated.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

SIGMA = 1.5
WINDOW = 11
"""Side of the Gaussian window in pixels: 3.5 sigma to each side, as in the source."""

PSNR_CAP = 100.0
"""Decibels given to images that agree to a mean squared error below 1e-10 (identical ones would be infinite)."""


def ssim(a: Tensor, b: Tensor, mask: Tensor | None = None) -> Tensor:
    """Structural similarity of each image of ``a`` to its counterpart in ``b``, data range 1.

    Args:
        a, b: (B, C, H, W) in [0, 1], H and W at least 11; channels are averaged.
        mask: (B, H, W) bool. The local similarities at these pixels are averaged; windows at its rim see beyond it.
            Without a mask, all windows that lie wholly inside the image count, as in the source (and scikit-image).

    Returns:
        (B,) float64, at most 1. NaN where the mask is empty.

    Raises:
        ValueError: if shapes differ, or an image is smaller than the window.

    Source: Wang et al. 2004; Gaussian window of sigma 1.5.

    >>> image = torch.rand(2, 1, 16, 16)
    >>> ssim(image, image).round(decimals=6).tolist()
    [1.0, 1.0]
    """
    return ssim_by_region(a, b, [mask])[0]


def ssim_by_region(a: Tensor, b: Tensor, masks: Sequence[Tensor | None]) -> list[Tensor]:
    """:func:`ssim` for several masks of the same images, at the price of one."""
    for mask in masks:
        _check(a, b, mask)
    if min(a.shape[-2:]) < WINDOW:
        raise ValueError(f"images of {tuple(a.shape[-2:])} are smaller than the window of {WINDOW} pixels")
    if not len(a):
        return [torch.zeros(0, dtype=torch.float64) for _ in masks]
    # torchmetrics averages over the border too, where windows see a mirrored image; its map allows to leave that out.
    # Single precision is ten times as fast here and changes a mean by about 1e-6; only the sums are double.
    _, local = structural_similarity_index_measure(
        a.float(), b.float(), sigma=SIGMA, data_range=1.0, reduction="none", return_full_image=True
    )
    local, rim = local.double(), WINDOW // 2
    inside = local[..., rim:-rim, rim:-rim].flatten(1).mean(1)
    return [inside if mask is None else _masked_mean(local, mask) for mask in masks]


def psnr(a: Tensor, b: Tensor, mask: Tensor | None = None) -> Tensor:
    """Peak signal-to-noise ratio in dB of each image of ``a`` against its counterpart in ``b``, data range 1.

    Args:
        a, b: (B, C, H, W) in [0, 1].
        mask: (B, H, W) bool; only these pixels count.

    Returns:
        (B,) float64, at most ``PSNR_CAP``. NaN where the mask is empty.

    Raises:
        ValueError: if shapes differ.

    >>> psnr(torch.zeros(1, 1, 4, 4), torch.full((1, 1, 4, 4), 0.1)).round(decimals=3).tolist()
    [20.0]
    """
    _check(a, b, mask)
    squared = (a.double() - b.double()).square()
    error = squared.flatten(1).mean(1) if mask is None else _masked_mean(squared, mask)
    return (-10 * torch.log10(error)).clamp(max=PSNR_CAP)


def box_mask(region: Tensor, *, margin: int = 2, min_size: int = WINDOW) -> Tensor:
    """The bounding box of each region, as a mask: what "lesion crop" means here.

    Args:
        region: (B, H, W) bool.
        margin: pixels added on every side.
        min_size: a smaller box grows to this side (as far as the image allows), so that a few pixels do not decide.

    Returns:
        (B, H, W) bool; empty where the region is.

    >>> region = torch.zeros(1, 8, 8, dtype=torch.bool)
    >>> region[0, 3, 4:6] = True
    >>> int(box_mask(region, margin=1, min_size=1).sum())
    12
    """
    rows = _span(region.any(2), margin, min_size)
    columns = _span(region.any(1), margin, min_size)
    return rows[:, :, None] & columns[:, None, :]


def _span(present: Tensor, margin: int, min_size: int) -> Tensor:
    """(B, L) bool: from the first to the last marked position, widened; ``present`` is (B, L)."""
    length = present.shape[1]
    position = torch.arange(length, device=present.device)
    first = present.int().argmax(1) - margin
    last = length - 1 - present.int().flip(1).argmax(1) + margin
    lacking = (min_size - (last - first + 1)).clamp(min=0)
    first = first - lacking // 2
    last = last + lacking - lacking // 2
    # A box that would stick out is pushed back inside, so that it keeps its size.
    beyond = (last - (length - 1)).clamp(min=0) - (-first).clamp(min=0)
    first, last = first - beyond, last - beyond
    inside = (position >= first[:, None]) & (position <= last[:, None])
    return inside & present.any(1, keepdim=True)


def _masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    weight = mask[:, None].expand_as(values)
    return torch.where(weight, values, 0).flatten(1).sum(1) / weight.flatten(1).sum(1)


def _check(a: Tensor, b: Tensor, mask: Tensor | None) -> None:
    if a.shape != b.shape or a.ndim != 4:
        raise ValueError(f"expected two equal shapes (B, C, H, W), got {tuple(a.shape)} and {tuple(b.shape)}")
    if mask is not None and (mask.shape != (a.shape[0], *a.shape[2:]) or mask.dtype != torch.bool):
        raise ValueError(f"expected a bool mask {(a.shape[0], *a.shape[2:])}, got {mask.dtype} {tuple(mask.shape)}")
