"""What is measured of generated images: a line for each metric of images one by one, and of images as a set.

A new metric needs its entry in :mod:`common.figures.registry` and a line here.
"""

from collections.abc import Callable, Sequence

from torch import Tensor

from common.metrics.perceptual import perceptual_by_region
from common.metrics.similarity import psnr, ssim_by_region
from common.metrics.sliced import sliced_wasserstein

Masks = Sequence[Tensor | None]


def _psnr_by_region(a: Tensor, b: Tensor, masks: Masks) -> list[Tensor]:
    return [psnr(a, b, mask) for mask in masks]


ONE_BY_ONE: dict[str, Callable[[Tensor, Tensor, Masks], list[Tensor]]] = {
    "ssim": ssim_by_region,
    "psnr": _psnr_by_region,
    "perceptual": perceptual_by_region,
}
"""By metric: (B, C, H, W) images and their counterparts, and masks (B, H, W), to (B,) values for each mask."""

AS_SETS: dict[str, Callable[[Tensor, Tensor], float]] = {
    "sliced_wasserstein": sliced_wasserstein,
}
"""By metric: two sets of n images to one value, which needs no features; distances of features are in
:mod:`server.evaluation.distribution`."""
