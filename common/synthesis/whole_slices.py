"""Training examples of a network that makes whole slices: real ones of both classes, and the noise for as many more."""

from dataclasses import dataclass

import torch
from torch import Tensor

from common.errors import DataError
from common.imaging.slices import Slices
from common.training.augmentation import augment_slices
from common.training.diffaugment import Augmentation, draw_augmentation


@dataclass(frozen=True)
class CriticExamples:
    """What one step of the critic needs.

    Attributes:
        images: (B, C, H, W) float32 in [0, 1], real slices.
        tumour: (B,) bool, their class, and that of the images generated beside them.
        noise: (B, Z) float32, of the generated images.
        grain: (B, 1, H, W) float32, of the generated images.
        mixing: (B,) float32 in [0, 1], for the gradient penalty.
        condition: (K,) organ and contrasts.
        augmentation: done to the real and to the generated images; None for nothing.
    """

    images: Tensor
    tumour: Tensor
    noise: Tensor
    grain: Tensor
    mixing: Tensor
    condition: Tensor
    augmentation: Augmentation | None


@dataclass(frozen=True)
class SamplingBatch:
    """What one step of the generator needs, the steps of the critic before it included.

    Attributes:
        critic: ``critic_steps`` sets of examples.
        tumour: (B,) bool, classes for the generator's own step.
        noise: (B, Z) float32, for the same.
        grain: (B, 1, H, W) float32, for the same.
        augmentation: for the same.
        condition: (K,) organ and contrasts.
    """

    critic: tuple[CriticExamples, ...]
    tumour: Tensor
    noise: Tensor
    grain: Tensor
    augmentation: Augmentation | None
    condition: Tensor


@dataclass(frozen=True)
class SamplingShape:
    """How examples are drawn and varied.

    Attributes:
        batch_size: examples of one step.
        critic_steps: steps of the critic for one of the generator.
        noise_size: length of the noise.
        tumour_share: share of the examples that hold a tumour.
        augmented_share: share of the real slices that are turned, and half of these mirrored left to right.
        rotation: largest turn in radians.
        diffaugment: policy of :mod:`common.training.diffaugment`; empty for none.
    """

    batch_size: int
    critic_steps: int
    noise_size: int
    tumour_share: float
    augmented_share: float
    rotation: float
    diffaugment: str


class ClassSource:
    """The slices of one site, by class.

    A slice with fewer lesion pixels than ``slices.min_tumour_pixels`` belongs to neither class.

    Args:
        slices: the site's training slices.
        shape: how examples are drawn from them.
        least: fewest slices of each class that is asked for.

    Raises:
        DataError: if the site has fewer.
    """

    def __init__(self, slices: Slices, shape: SamplingShape, least: int = 1) -> None:
        self.slices = slices
        self.shape = shape
        self.tumour = torch.from_numpy(slices.tumour_class()).nonzero().squeeze(1)
        self.healthy = torch.from_numpy(slices.healthy_positions())
        for positions, wanted, text in (
            (self.tumour, shape.tumour_share > 0, "hold a tumour"),
            (self.healthy, shape.tumour_share < 1, "are free of tumour"),
        ):
            if wanted and len(positions) < max(1, least):
                raise DataError(
                    f"only {len(positions)} slices {text}, and {max(1, least)} are needed to learn from; "
                    "add patients, or lower the model's min_slices"
                )
        self.size = int(slices.patients[0].images.shape[-1])

    def draw(self, tumours: int, generator: torch.Generator) -> SamplingBatch:
        """One batch with so many ``tumours``; all of it follows from the generator's state."""
        shape = self.shape
        steps, healthy = shape.critic_steps, shape.batch_size - tumours
        classes = torch.arange(shape.batch_size) < tumours
        positions = torch.cat(
            [
                _in_turn(self.tumour, steps * tumours, generator).view(steps, tumours),
                _in_turn(self.healthy, steps * healthy, generator).view(steps, healthy),
            ],
            dim=1,
        )
        return SamplingBatch(
            critic=tuple(self._examples(some, classes, generator) for some in positions),
            tumour=classes,
            noise=torch.randn(shape.batch_size, shape.noise_size, generator=generator),
            grain=torch.randn(shape.batch_size, 1, self.size, self.size, generator=generator),
            augmentation=self._augmentation(generator),
            condition=self.slices.condition(),
        )

    def _examples(self, positions: Tensor, classes: Tensor, generator: torch.Generator) -> CriticExamples:
        shape, count = self.shape, len(positions)
        images = self.slices.batch(positions).images
        return CriticExamples(
            images=turned_slices(images, shape.augmented_share, shape.rotation, generator),
            tumour=classes,
            noise=torch.randn(count, shape.noise_size, generator=generator),
            grain=torch.randn(count, 1, self.size, self.size, generator=generator),
            mixing=torch.rand(count, generator=generator),
            condition=self.slices.condition(),
            augmentation=self._augmentation(generator),
        )

    def _augmentation(self, generator: torch.Generator) -> Augmentation | None:
        if not self.shape.diffaugment:
            return None
        return draw_augmentation(self.shape.diffaugment, self.shape.batch_size, self.size, generator)


def turned_slices(images: Tensor, share: float, rotation: float, generator: torch.Generator) -> Tensor:
    """``images`` (B, C, H, W), a ``share`` of them turned by up to ``rotation`` radians, half of these mirrored."""
    chosen = torch.rand(len(images), generator=generator) < share
    moved = augment_slices(images, generator, rotation=rotation, scale=0, shift=0, contrast=0)
    return torch.where(chosen.view(-1, 1, 1, 1), moved, images)


def _in_turn(positions: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """(count,) of ``positions`` in random order, each again only after all the others."""
    turns = [positions[:0]]
    while sum(map(len, turns)) < count:
        turns.append(positions[torch.randperm(len(positions), generator=generator)])
    return torch.cat(turns)[:count]
