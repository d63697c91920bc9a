"""Training examples of a network that makes whole slices: real ones of both classes, and the noise for as many more."""

from dataclasses import dataclass

import torch
from torch import Tensor

from common.errors import DataError
from common.imaging.slices import Slices
from common.training.augmentation import augment_slices
from common.training.diffaugment import Augmentation, draw_augmentation
from common.training.wgan_gp_config import Config


@dataclass(frozen=True)
class Draws:
    """What the generator makes images of.

    Attributes:
        tumour: (B,) bool, their classes.
        noise: (B, Z) float32.
        grain: (B, 1, H, W) float32.
        condition: (K,) organ and contrasts.
        augmentation: done to them before the critic sees them; None for nothing.
    """

    tumour: Tensor
    noise: Tensor
    grain: Tensor
    condition: Tensor
    augmentation: Augmentation | None = None


@dataclass(frozen=True, kw_only=True)
class CriticExamples(Draws):
    """What one step of the critic needs: real slices, and draws of the same classes and augmentation.

    Attributes:
        images: (B, C, H, W) float32 in [0, 1].
        mixing: (B,) float32 in [0, 1], for the gradient penalty.
    """

    images: Tensor
    mixing: Tensor


@dataclass(frozen=True, kw_only=True)
class SamplingBatch(Draws):
    """The draws of one step of the generator, and the ``n_critic`` sets of examples of the critic's steps before it."""

    critic: tuple[CriticExamples, ...]


def draw_noise(count: int, noise_size: int, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Standard normal noise (count, noise_size) and grain (count, 1, size, size)."""
    noise = torch.randn(count, noise_size, generator=generator)
    return noise, torch.randn(count, 1, size, size, generator=generator)


class ClassSource:
    """The slices of one site, by class.

    A slice with fewer lesion pixels than ``slices.min_tumour_pixels`` belongs to neither class.

    Args:
        slices: the site's training slices.
        config: how examples are drawn from them.

    Raises:
        DataError: if the site has fewer.
    """

    def __init__(self, slices: Slices, config: Config) -> None:
        self.slices = slices
        self.config = config
        least = max(1, config.min_slices)
        self.tumour = torch.from_numpy(slices.tumour_class()).nonzero().squeeze(1)
        self.healthy = torch.from_numpy(slices.healthy_positions())
        for positions, wanted, text in (
            (self.tumour, config.tumour_share > 0, "hold a tumour"),
            (self.healthy, config.tumour_share < 1, "are free of tumour"),
        ):
            if wanted and len(positions) < least:
                raise DataError(
                    f"only {len(positions)} slices {text}, and {least} are needed to learn from; "
                    "add patients, or lower the model's min_slices"
                )
        self.size = int(slices.patients[0].images.shape[-1])

    def draw(self, tumours: int, generator: torch.Generator) -> SamplingBatch:
        """One batch with so many ``tumours``; all of it follows from the generator's state."""
        c = self.config
        steps, healthy = c.n_critic, c.batch_size - tumours
        classes = torch.arange(c.batch_size) < tumours
        positions = torch.cat(
            [
                _in_turn(self.tumour, steps * tumours, generator).view(steps, tumours),
                _in_turn(self.healthy, steps * healthy, generator).view(steps, healthy),
            ],
            dim=1,
        )
        critic = tuple(self._examples(some, classes, generator) for some in positions)
        return SamplingBatch(**vars(self._draws(classes, generator)), critic=critic)

    def _draws(self, classes: Tensor, generator: torch.Generator) -> Draws:
        noise, grain = draw_noise(len(classes), self.config.noise_size, self.size, generator)
        return Draws(classes, noise, grain, self.slices.condition(), self._augmentation(generator))

    def _examples(self, positions: Tensor, classes: Tensor, generator: torch.Generator) -> CriticExamples:
        c = self.config
        images = turned_slices(self.slices.batch(positions).images, c.augmented_share, c.rotation, generator)
        noise, grain = draw_noise(len(classes), c.noise_size, self.size, generator)
        return CriticExamples(
            tumour=classes,
            noise=noise,
            grain=grain,
            condition=self.slices.condition(),
            images=images,
            mixing=torch.rand(len(classes), generator=generator),
            augmentation=self._augmentation(generator),
        )

    def _augmentation(self, generator: torch.Generator) -> Augmentation | None:
        if not self.config.diffaugment:
            return None
        return draw_augmentation(self.config.diffaugment, self.config.batch_size, self.size, generator)


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
