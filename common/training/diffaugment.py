"""DiffAugment (Zhao et al. 2020): real and generated images are changed alike before a critic sees them.

With few training images a critic learns them by heart. Changing only the real ones would teach the generator the
changes; changing both, by differentiable operations, hides the images from the critic and leaves the generator alone.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from common.errors import ConfigError

OPERATIONS = ("brightness", "contrast", "translation", "cutout")
"""In the order in which they are applied. Colour saturation, the paper's other one, needs colours."""

BRIGHTNESS = 0.25
"""Largest shift of the grey values in [0, 1] (the paper's 0.5, for values in [-1, 1])."""
CONTRAST = 0.5
"""Largest relative change of the distance of grey values from their mean."""
TRANSLATION = 1 / 8
"""Largest displacement, as a share of the side."""
CUTOUT = 1 / 2
"""Side of the square that is blanked, as a share of the image's; it may reach over the image's edge."""


@dataclass(frozen=True)
class Augmentation:
    """What is done to each of B images; an operation that the policy leaves out has its neutral value.

    Attributes:
        brightness: (B,) added to the grey values in [0, 1]; 0 is neutral.
        contrast: (B,) factor of the distance from each image's mean; 1 is neutral.
        shift: (B, 2) int64, pixels down and to the right.
        hole: (B, 4) int64: first and last row, first and last column (excluded) that are blanked.
    """

    brightness: Tensor
    contrast: Tensor
    shift: Tensor
    hole: Tensor

    def of_places(self) -> "Augmentation":
        """What it does to maps that are no grey values: the same shift and hole, and nothing else."""
        return replace(self, brightness=torch.zeros_like(self.brightness), contrast=torch.ones_like(self.contrast))


def parse_policy(policy: str) -> tuple[str, ...]:
    """The operations of a policy such as ``"translation,cutout"``; the empty text is none.

    >>> parse_policy("translation, brightness")
    ('brightness', 'translation')

    Raises:
        ConfigError: for a word that is not in ``OPERATIONS``.
    """
    words = {word.strip() for word in policy.split(",") if word.strip()}
    unknown = sorted(words - set(OPERATIONS))
    if unknown:
        raise ConfigError(f"diffaugment: unknown operation {unknown[0]!r}; known: {', '.join(OPERATIONS)}")
    return tuple(name for name in OPERATIONS if name in words)


def draw_augmentation(policy: str, count: int, size: int, generator: torch.Generator) -> Augmentation:
    """Random parameters for ``count`` images of ``size`` x ``size`` pixels, from a CPU generator.

    Raises:
        ConfigError: for an unknown operation.
    """
    operations = parse_policy(policy)

    def uniform(name: str, largest: float) -> Tensor:
        return (2 * torch.rand(count, generator=generator) - 1) * (largest if name in operations else 0.0)

    brightness, contrast = uniform("brightness", BRIGHTNESS), 1 + uniform("contrast", CONTRAST)
    reach = round(size * TRANSLATION) if "translation" in operations else 0
    shift = torch.randint(-reach, reach + 1, (count, 2), generator=generator)
    side = round(size * CUTOUT) if "cutout" in operations else 0
    first = torch.randint(0, size + 1, (count, 2), generator=generator) - side // 2
    hole = torch.stack([first[:, 0], first[:, 0] + side, first[:, 1], first[:, 1] + side], dim=1)
    return Augmentation(brightness, contrast, shift, hole)


def diffaugment(images: Tensor, augmentation: Augmentation) -> Tensor:
    """(B, C, H, W) from images (B, C, H, W) with grey values in [0, 1] and background 0, differentiably.

    What moves in from outside and what is cut out is 0. Values may leave [0, 1], as in the paper: clamping would end
    the gradient there. All channels of an image are changed alike.
    """
    height, width = images.shape[-2:]
    one = augmentation
    moved = images + _each(one.brightness, images)
    mean = moved.mean(dim=(1, 2, 3), keepdim=True)
    moved = moved + (moved - mean) * _each(one.contrast - 1, images)
    shift, hole = one.shift.to(images.device), one.hole.to(images.device)
    rows, columns = torch.arange(height, device=images.device), torch.arange(width, device=images.device)
    above, left = rows - shift[:, :1], columns - shift[:, 1:]
    moved = moved.gather(2, above.clamp(0, height - 1)[:, None, :, None].expand_as(moved))
    moved = moved.gather(3, left.clamp(0, width - 1)[:, None, None, :].expand_as(moved))
    kept = _within(above, 0, height)[:, :, None] & _within(left, 0, width)[:, None, :]
    cut = _within(rows, hole[:, :1], hole[:, 1:2])[:, :, None] & _within(columns, hole[:, 2:3], hole[:, 3:])[:, None, :]
    return moved * (kept & ~cut).unsqueeze(1)


def _each(values: Tensor, images: Tensor) -> Tensor:
    return values.to(images).view(-1, 1, 1, 1)


def _within(places: Tensor, first: Tensor | int, end: Tensor | int) -> Tensor:
    return (places >= first) & (places < end)
