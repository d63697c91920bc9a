"""The parts of pix2pix (Isola et al. 2017): both networks see a condition, and the output has a target."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from common.losses.adversarial import adversarial_loss
from common.losses.perceptual import PerceptualLoss, perceptual_loss
from common.study.experiment import ImageConfig, WeightsConfig
from common.training.gan import GanTrainer, patch_discriminator
from common.training.gan_config import Pix2PixConfig
from common.training.patients import PatientTrainer, PatientUpdate
from common.training.sizes import require_patches, require_perceptual, require_unet, window_of

Batch = TypeVar("Batch")


class Pix2PixTrainer(GanTrainer[Batch], PatientTrainer[Batch]):
    """A U-Net and a PatchGAN with adversarial, L1 and perceptual losses."""

    config: Pix2PixConfig

    @classmethod
    def check_config(cls, config: Any, image: ImageConfig, key: str = "model") -> None:
        """Also refuses networks that do not fit on the slices."""
        super().check_config(config, image, key)
        window = window_of(config.crop, image)
        require_unet(key, config, window)
        require_patches(key, config, window)
        require_perceptual(key, config.perceptual_weight, window)

    def build_adversaries(self) -> dict[str, nn.Module]:
        """The one discriminator."""
        return {"discriminator": patch_discriminator(self.config, self.judged_channels)}

    def set_up(self, weights: WeightsConfig | None) -> None:
        """The losses."""
        self.generator, self.discriminator = self.trained["generator"], self.trained["discriminator"]
        self.adversarial = adversarial_loss(self.config.adversarial)
        self.perceptual: PerceptualLoss | None = None
        if self.config.perceptual_weight > 0:
            self.perceptual = perceptual_loss(self.config.perceptual, weights).to(self.device)

    @property
    @abstractmethod
    def judged_channels(self) -> int:
        """Channels that the discriminator sees: of an image and its condition."""

    @abstractmethod
    def make(self, batch: Batch) -> Tensor:
        """(B, C, h, w) in [0, 1]: what the generator makes of the examples."""

    @abstractmethod
    def discriminator_losses(self, batch: Batch, made: Tensor) -> dict[str, Tensor]:
        """Each loss of the discriminator, and their weighted ``total``."""

    @abstractmethod
    def generator_losses(self, batch: Batch, made: Tensor) -> dict[str, Tensor]:
        """Each loss of the generator, and their weighted ``total``."""

    def weigh(self, adversarial: Tensor, l1: Tensor, made: Tensor, target: Tensor) -> dict[str, Tensor]:
        """The generator's losses, the perceptual one among them, and their weighted ``total``."""
        c, losses = self.config, {"adversarial": adversarial, "l1": l1}
        losses["total"] = c.adversarial_weight * adversarial + c.l1_weight * l1
        if self.perceptual is not None:
            losses["perceptual"] = self.perceptual(made, target)
            losses["total"] = losses["total"] + c.perceptual_weight * losses["perceptual"]
        return losses

    def judge(self, images: Tensor, condition: Tensor) -> Tensor:
        """Logits of images in [0, 1]."""
        return self.run(self.discriminator, torch.cat([images * 2 - 1, condition], dim=1))

    def train_step(self, batch: Batch) -> dict[str, Tensor]:
        """One step of the discriminator and one of the generator."""
        made = self.make(batch)
        self.discriminator.requires_grad_(True)
        judged = self.discriminator_losses(batch, made.detach())
        self.descend("discriminator", judged.pop("total"))
        self.discriminator.requires_grad_(False)
        generated = self.generator_losses(batch, made)
        self.descend("generator", generated.pop("total"))
        return {name: value.detach() for name, value in (judged | generated).items()}

    def patient_updates(self, condition: Tensor) -> Sequence[PatientUpdate[Batch]]:
        """The discriminator, then the generator: both look at real slices, so both are paid for."""

        def judge(batch: Batch) -> Tensor:
            with torch.no_grad():
                made = self.make(batch)
            return self.discriminator_losses(batch, made)["total"]

        def generate(batch: Batch) -> Tensor:
            return self.generator_losses(batch, self.make(batch))["total"]

        return (
            PatientUpdate("discriminator", {"discriminator": self.discriminator}, judge),
            PatientUpdate("generator", {"generator": self.generator}, generate),
        )
