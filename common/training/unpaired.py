"""Training examples of an unpaired translation: random slices of the one domain that a site holds."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from common.imaging.slices import Slices
from common.seeding import Label, derive_seed, torch_generator
from common.training.augmentation import random_crops


@dataclass(frozen=True)
class SideBatch:
    """Real slices of one domain, and all that is random about a step on them.

    Attributes:
        side: their domain, 0 or 1.
        images: (B, C, S, S) float32 in [0, 1].
        proxies: (B, C, S, S) float32 in [0, 1], synthetic slices of the other domain; None where none are used.
        seed: of the draws of the image pool and the augmentation.
    """

    side: int
    images: Tensor
    proxies: Tensor | None
    seed: int = 0


@dataclass(frozen=True)
class SideShape:
    """What a batch looks like.

    Attributes:
        count: slices in it.
        window: side in pixels of the square cut out of each at random; a whole slice if it has that size.
        flip: probability of mirroring left to right.
    """

    count: int
    window: int
    flip: float


def draw_side(slices: Slices, side: int, proxies: Tensor | None, shape: SideShape, seed: int) -> SideBatch:
    """Random slices (repeats allowed) of ``slices``, and as many of ``proxies`` (N, C, H, W); the same for a seed."""
    generator = torch_generator(seed, Label.SLICES)
    images = slices.batch(torch.randint(len(slices), (shape.count,), generator=generator)).images
    return replace(cut_side(images, side, proxies, shape, generator), seed=derive_seed(seed, Label.STEP))


def cut_side(
    images: Tensor, side: int, proxies: Tensor | None, shape: SideShape, generator: torch.Generator
) -> SideBatch:
    """Random crops of ``images``, and of as many random ones of ``proxies``."""
    (images,), other = random_crops([images], shape.window, shape.flip, generator), None
    if proxies is not None:
        chosen = torch.randint(len(proxies), (len(images),), generator=generator)
        (other,) = random_crops([proxies[chosen]], shape.window, shape.flip, generator)
    return SideBatch(side, images, other)
