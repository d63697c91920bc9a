"""The conditional GAN that translates one contrast into another of the same slice (pix2pix, Isola et al. 2017).

The generator sees the source contrasts and the tumour's label map, which tells it what a contrast that hides the lesion
cannot. It needs sites that hold both sides; where none does, CycleGAN is the model for it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from common.allowed import MOST_STEPS, RATE, WEIGHT, WIDTH, between, one_of, require_allowed
from common.conditions import one_hot_labels
from common.errors import ConfigError, DataError
from common.experiment import MOST_BATCH, ImageConfig, WeightsConfig
from common.imaging.names import CONTRASTS, ORGANS
from common.imaging.patient import LESION_LABELS
from common.imaging.slices import SliceBatch, Slices
from common.losses.adversarial import adversarial_loss
from common.losses.perceptual import PerceptualLoss, perceptual_loss
from common.networks.patchgan import PatchGAN
from common.networks.unet import UNet
from common.precision import full_precision
from common.seeding import derive_seed, torch_generator
from common.training.augmentation import random_crops
from common.training.choices import ADVERSARIAL, BETAS, DECAY, LEAST_SLICES, PERCEPTUAL, PRECISION
from common.training.ema import averaged_copy, update_average
from common.training.kinds import PairedTranslationTrainer
from common.training.patients import PatientDraw, PatientTrainer, PatientUpdate
from common.training.schedule import RateSchedule
from common.training.sizes import require_patches, require_perceptual, require_unet, window_of
from common.training.trainer import Needs, OptimiserStep, View, plain_step

BATCH = 32


@dataclass
class Config:
    """What ``configs/model/translation.yaml`` may say; each key is explained there."""

    organ: str = field(default="brain", metadata=one_of(*ORGANS))
    source: list[str] = field(default_factory=lambda: ["t1"], metadata=one_of(*CONTRASTS, once=True))
    target: list[str] = field(default_factory=lambda: ["t2"], metadata=one_of(*CONTRASTS, once=True))
    width: int = field(default=16, metadata=WIDTH)
    depth: int = field(default=4, metadata=between(1, 11))
    discriminator_width: int = field(default=32, metadata=WIDTH)
    discriminator_layers: int = field(default=2, metadata=between(1, 8))
    crop: int = field(default=0, metadata=between(0, 2048))
    flip: float = field(default=0.5, metadata=between(0, 1))
    batch_size: int = field(default=8, metadata=between(1, MOST_BATCH))
    learning_rate: float = field(default=2e-4, metadata=RATE)
    discriminator_learning_rate: float = field(default=1e-4, metadata=RATE)
    betas: list[float] = field(default_factory=lambda: [0.5, 0.999], metadata=BETAS)
    decay_steps: int = field(default=0, metadata=between(0, MOST_STEPS))
    adversarial: str = field(default="lsgan", metadata=ADVERSARIAL)
    adversarial_weight: float = field(default=1.0, metadata=WEIGHT)
    l1_weight: float = field(default=100.0, metadata=WEIGHT)
    perceptual: str = field(default="efficientnet_lite0", metadata=PERCEPTUAL)
    perceptual_weight: float = field(default=0.0, metadata=WEIGHT)
    ema: float = field(default=0.99, metadata=DECAY)
    spectral_norm: bool = False
    min_slices: int = field(default=4, metadata=LEAST_SLICES)
    precision: str = field(default="fp32", metadata=PRECISION)


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


class Trainer(PairedTranslationTrainer[TranslationBatch], PatientTrainer[TranslationBatch]):
    """Trains the pair at one site that holds both sides.

    Args:
        config: the model's choices.
        image: size of a slice.
        organs: the study's contrasts by organ; the configuration names its own, so they do not matter here.
        device: where the networks live.
        step: takes the place of ``optimizer.step()``.
        weights: files of pre-trained weights (only VGG19 is used, if ``config.perceptual`` asks for it).
        seed: of the first weights.

    Raises:
        ConfigError: for values that cannot work together.
        WeightsError: if VGG19's weights are needed and missing.
    """

    needs = Needs.SLICES

    def __init__(
        self,
        config: Config,
        *,
        image: ImageConfig,
        organs: Mapping[str, tuple[str, ...]],
        device: torch.device,
        step: OptimiserStep = plain_step,
        weights: WeightsConfig | None = None,
        seed: int,
    ) -> None:
        super().__init__(device=device, step=step)
        check_config(config, image)
        self.config = config
        self.window = min(config.crop or image.size, image.size)
        condition = len(config.source) + len(LESION_LABELS)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(seed, "translation", "weights"))
            self.generator: nn.Module = UNet(condition, len(config.target), width=config.width, depth=config.depth)
            self.discriminator: nn.Module = PatchGAN(
                condition + len(config.target),
                width=config.discriminator_width,
                layers=config.discriminator_layers,
                spectral_norm=config.spectral_norm,
            )
        self.networks = {"generator": self.generator.to(device), "discriminator": self.discriminator.to(device)}
        self.average = averaged_copy(self.generator) if config.ema > 0 else None
        if self.average is not None:
            self.networks["generator_ema"] = self.average
        rates = {"generator": config.learning_rate, "discriminator": config.discriminator_learning_rate}
        self.schedule = RateSchedule(rates, config.decay_steps)
        betas = (config.betas[0], config.betas[1])
        self.optimisers = {
            name: torch.optim.Adam(self.networks[name].parameters(), lr=rate, betas=betas)
            for name, rate in rates.items()
        }
        self.adversarial = adversarial_loss(config.adversarial)
        self.perceptual: PerceptualLoss | None = None
        if config.perceptual_weight > 0:
            self.perceptual = perceptual_loss(config.perceptual, weights).to(device)

    @classmethod
    def check_config(cls, config: Config, image: ImageConfig, key: str = "model") -> None:
        """As :func:`check_config` says."""
        check_config(config, image, key)

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
            generator = torch_generator(seed, "translation", "batch", index)
            drawn = slices.batch(torch.randint(len(slices), (c.batch_size,), generator=generator))
            images, labels = random_crops([drawn.images, drawn.labels], self.window, c.flip, generator)
            return TranslationBatch(images[:, : len(c.source)], images[:, len(c.source) :], labels)

        return (draw(index) for index in range(count))

    def begin_step(self) -> None:
        """The rates of this step."""
        self.schedule.apply(self.optimisers, self.steps_done)

    def end_step(self) -> None:
        """The averaged generator follows."""
        if self.average is not None:
            update_average(self.average, self.generator, self.config.ema, self.steps_done)
        super().end_step()

    def train_step(self, batch: TranslationBatch) -> dict[str, Tensor]:
        """One step of the discriminator and one of the generator."""
        made = self._made(batch)
        self.discriminator.requires_grad_(True)
        discriminator_loss = self._discriminator_loss(batch, made.detach())
        self.descend("discriminator", discriminator_loss)
        self.discriminator.requires_grad_(False)
        losses = self._generator_losses(batch, made)
        self.descend("generator", losses.pop("total"))
        return {name: value.detach() for name, value in {"discriminator": discriminator_loss, **losses}.items()}

    def _made(self, batch: TranslationBatch) -> Tensor:
        return self._generate(self.generator, self._condition(batch.source, batch.labels))

    def _discriminator_loss(self, batch: TranslationBatch, made: Tensor) -> Tensor:
        condition = self._condition(batch.source, batch.labels)
        both = self._judge(torch.cat([batch.target.to(self.device), made]), torch.cat([condition, condition]))
        return self.adversarial.discriminator(*both.chunk(2))

    def _generator_losses(self, batch: TranslationBatch, made: Tensor) -> dict[str, Tensor]:
        """Each loss of the generator, and their weighted ``total``."""
        c = self.config
        target = batch.target.to(self.device)
        judged = self._judge(made, self._condition(batch.source, batch.labels))
        losses = {"adversarial": self.adversarial.generator(judged), "l1": (made - target).abs().mean()}
        losses["total"] = c.adversarial_weight * losses["adversarial"] + c.l1_weight * losses["l1"]
        if self.perceptual is not None:
            losses["perceptual"] = self.perceptual(made, target)
            losses["total"] = losses["total"] + c.perceptual_weight * losses["perceptual"]
        return losses

    def patient_examples(self, draw: PatientDraw, generator: torch.Generator) -> TranslationBatch:
        """Random crops of the slices, in the contrasts of both sides."""
        maps = [draw.slices.images, draw.slices.labels]
        images, labels = random_crops(maps, self.window, self.config.flip, generator)
        sources = len(self.config.source)
        return TranslationBatch(images[:, :sources], images[:, sources:], labels)

    def patient_updates(self, condition: Tensor) -> Sequence[PatientUpdate[TranslationBatch]]:
        """The discriminator, then the generator: both look at real slices, so both are paid for."""

        def judge(batch: TranslationBatch) -> Tensor:
            with torch.no_grad():
                made = self._made(batch)
            return self._discriminator_loss(batch, made)

        def translate(batch: TranslationBatch) -> Tensor:
            return self._generator_losses(batch, self._made(batch))["total"]

        return (
            PatientUpdate("discriminator", {"discriminator": self.discriminator}, judge),
            PatientUpdate("generator", {"generator": self.generator}, translate),
        )

    def _condition(self, source: Tensor, labels: Tensor) -> Tensor:
        shown = source.to(self.device) * 2 - 1
        return torch.cat([shown, one_hot_labels(labels.to(self.device)).to(shown)], dim=1)

    def _generate(self, network: nn.Module, condition: Tensor) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bf16"):
            output = network(condition)
        return (torch.tanh(full_precision(output)) + 1) / 2

    def _judge(self, images: Tensor, condition: Tensor) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bf16"):
            logits: Tensor = self.discriminator(torch.cat([images * 2 - 1, condition], dim=1))
        return full_precision(logits)

    def translate(self, batch: SliceBatch) -> Tensor:
        """The slices of ``batch``, whose channels are the source contrasts, in the target's; by the averaged generator
        if there is one."""
        with torch.no_grad():
            parts = [
                self._generate(self.average or self.generator, self._condition(images, labels)).cpu()
                for images, labels in zip(
                    torch.split(batch.images, BATCH), torch.split(batch.labels, BATCH), strict=True
                )
            ]
        return torch.cat(parts)


def check_config(config: Config, image: ImageConfig, key: str = "model") -> None:
    """Refuses values that cannot work together; ``key`` is that of the model in a study.

    Raises:
        ConfigError: naming the keys.
    """
    require_allowed(config, f"{key}.")
    if both := sorted(set(config.source) & set(config.target)):
        raise ConfigError(f"{key}.target=[{','.join(config.target)}]: {both[0]} is among {key}.source too; name others")
    window = window_of(config.crop, image)
    require_unet(key, config, window)
    require_patches(key, config, window)
    require_perceptual(key, config.perceptual_weight, window)
