"""The conditional GAN that translates one contrast into another of the same slice (pix2pix, Isola et al. 2017).

The generator sees the source contrasts and the tumour's label map, which tells it what a contrast that hides the lesion
cannot. It needs sites that hold both sides; where none does, CycleGAN is the model for it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from common.errors import ConfigError, DataError
from common.export.card import Port
from common.export.loading import grey_values
from common.export.recipe import Recipe, output_port
from common.imaging.names import CONTRASTS, ORGANS
from common.imaging.patient import LESION_LABELS
from common.imaging.slices import SliceBatch, Slices
from common.networks.unet import UNet
from common.seeding import Label, torch_generator
from common.study.allowed import between, one_of
from common.study.conditions import one_hot_labels
from common.study.experiment import ImageConfig, WeightsConfig
from common.training.augmentation import random_crops
from common.training.gan import grey
from common.training.gan_config import Pix2PixConfig
from common.training.kinds import PairedTranslationTrainer
from common.training.patients import PatientDraw
from common.training.pix2pix import Pix2PixTrainer
from common.training.sizes import window_of
from common.training.trainer import View

BATCH = 32


@dataclass
class Config(Pix2PixConfig):
    """Keys of ``models.translation``."""

    organ: str = field(default="brain", metadata=one_of(*ORGANS))
    source: list[str] = field(default_factory=lambda: ["t1"], metadata=one_of(*CONTRASTS, once=True))
    """Contrasts that are translated."""
    target: list[str] = field(default_factory=lambda: ["t2"], metadata=one_of(*CONTRASTS, once=True))
    """Contrasts that are made of them."""
    flip: float = field(default=0.5, metadata=between(0, 1))
    """Probability of mirroring a training slice left to right."""


@dataclass(frozen=True)
class TranslationBatch:
    """Training examples.

    Attributes:
        source: (B, C, S, S) float32 in [0, 1].
        target: (B, D, S, S) float32 in [0, 1], the same slices in the contrasts to be made.
        labels: (B, S, S) uint8.
    """

    source: Tensor
    target: Tensor
    labels: Tensor


class Trainer(PairedTranslationTrainer[TranslationBatch], Pix2PixTrainer[TranslationBatch]):
    """Trains the pair at one site that holds both sides."""

    family = "translation"
    config: Config

    @classmethod
    def check_config(cls, config: Config, image: ImageConfig, key: str = "model") -> None:
        """Also refuses a contrast on both sides."""
        if both := sorted(set(config.source) & set(config.target)):
            raise ConfigError(
                f"{key}.target=[{','.join(config.target)}]: {both[0]} is among {key}.source too; name others"
            )
        super().check_config(config, image, key)

    @classmethod
    def recipes(cls, config: Config, *, size: int, channels: int) -> dict[str, Recipe]:
        """The U-Net that translates."""
        before, after = (side.name for side in cls.sides(config))
        sources, inside = len(config.source), len(config.source) + len(LESION_LABELS)
        parts = (
            f"joined along the channels: {before}, grey values in [-1, 1] ({sources}); one_hot_labels(label map "
            f"of the tumour) ({len(LESION_LABELS)})"
        )
        recipe = Recipe(
            UNet,
            {
                "in_channels": inside,
                "out_channels": len(config.target),
                "width": config.width,
                "depth": config.depth,
            },
            task=f"Makes {after} of {before} and the tumour's label map.",
            inputs=(Port(name="x", shape=f"(B, {inside}, H, W)", meaning=parts),),
            output=output_port(len(config.target)),
            companions=(one_hot_labels, grey_values),
        )
        return {"generator": recipe}

    @property
    def judged_channels(self) -> int:
        """Both sides' and the label map's."""
        return len(self.config.source) + len(LESION_LABELS) + len(self.config.target)

    def set_up(self, weights: WeightsConfig | None) -> None:
        """The losses, and the size of the examples."""
        super().set_up(weights)
        self.window = window_of(self.config.crop, self.image)

    @classmethod
    def sides(cls, config: Any) -> tuple[View, View]:
        """What is translated, and into what."""
        return View(config.organ, tuple(config.source)), View(config.organ, tuple(config.target))

    @classmethod
    def view(cls, config: Any, study: Mapping[str, tuple[str, ...]], organ: str, held: Sequence[str]) -> View | None:
        """Source and target contrasts together, at a site that holds all of them."""
        wanted = (*config.source, *config.target)
        return View(organ, wanted) if organ == config.organ and set(wanted) <= set(held) else None

    @classmethod
    def check_slices(cls, config: Config, slices: Slices) -> None:
        """Raises ``DataError`` for too few slices."""
        if len(slices) < max(1, config.min_slices):
            raise DataError(f"only {len(slices)} slices hold both sides, and {config.min_slices} are needed")

    def batches(self, slices: Slices, count: int, seed: int) -> Iterator[TranslationBatch]:
        """``count`` batches of random slices, or random crops of them, mirrored left to right or not.

        Raises:
            DataError: if there are too few slices, or they lack a contrast.
        """
        c = self.config
        if slices.contrasts != (*c.source, *c.target):
            raise DataError(f"slices of {'+'.join(slices.contrasts)} are not {'+'.join([*c.source, *c.target])}")
        self.check_slices(c, slices)

        def draw(index: int) -> TranslationBatch:
            generator = torch_generator(seed, Label.TRANSLATION, Label.BATCH, index)
            drawn = slices.batch(torch.randint(len(slices), (c.batch_size,), generator=generator))
            images, labels = random_crops([drawn.images, drawn.labels], self.window, c.flip, generator)
            return TranslationBatch(images[:, : len(c.source)], images[:, len(c.source) :], labels)

        return (draw(index) for index in range(count))

    def make(self, batch: TranslationBatch) -> Tensor:
        """The target's contrasts by the generator in training."""
        return self._generate(self.generator, self._condition(batch.source, batch.labels))

    def discriminator_losses(self, batch: TranslationBatch, made: Tensor) -> dict[str, Tensor]:
        """The adversarial loss, which is the ``total``."""
        condition = self._condition(batch.source, batch.labels)
        both = self.judge(torch.cat([batch.target.to(self.device), made]), torch.cat([condition, condition]))
        loss = self.adversarial.discriminator(*both.chunk(2))
        return {"discriminator": loss, "total": loss}

    def generator_losses(self, batch: TranslationBatch, made: Tensor) -> dict[str, Tensor]:
        """Each loss of the generator, and their weighted ``total``."""
        target = batch.target.to(self.device)
        judged = self.judge(made, self._condition(batch.source, batch.labels))
        return self.weigh(self.adversarial.generator(judged), (made - target).abs().mean(), made, target)

    def patient_examples(self, draw: PatientDraw, generator: torch.Generator) -> TranslationBatch:
        """Random crops of the slices, in the contrasts of both sides."""
        maps = [draw.slices.images, draw.slices.labels]
        images, labels = random_crops(maps, self.window, self.config.flip, generator)
        sources = len(self.config.source)
        return TranslationBatch(images[:, :sources], images[:, sources:], labels)

    def _condition(self, source: Tensor, labels: Tensor) -> Tensor:
        shown = source.to(self.device) * 2 - 1
        return torch.cat([shown, one_hot_labels(labels.to(self.device)).to(shown)], dim=1)

    def _generate(self, network: nn.Module, condition: Tensor) -> Tensor:
        return grey(self.run(network, condition))

    def translate(self, batch: SliceBatch) -> Tensor:
        """The slices of ``batch``, whose channels are the source contrasts, in the target's; by the averaged generator
        if there is one."""
        with torch.no_grad():
            parts = [
                self._generate(self.averaged(), self._condition(images, labels)).cpu()
                for images, labels in zip(
                    torch.split(batch.images, BATCH), torch.split(batch.labels, BATCH), strict=True
                )
            ]
        return torch.cat(parts)
