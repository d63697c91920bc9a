"""The Wasserstein GAN with gradient penalty (Gulrajani et al. 2017) that makes whole slices from noise.

The generator is told a class (tumour or none), an organ and its contrasts, and sees no patient: only the critic does.
That is why its images may leave a site where the critic was trained with differential privacy.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from common.export.card import Port
from common.export.loading import grey_values
from common.export.recipe import Recipe, output_port
from common.imaging.slices import Slices
from common.losses.adversarial import adversarial_loss
from common.losses.gradient_penalty import gradient_penalty
from common.networks.wgan import Critic, SliceGenerator
from common.seeding import Label, torch_generator
from common.study.allowed import refused
from common.study.conditions import CONDITION_SIZE, condition_code
from common.study.experiment import ImageConfig, WeightsConfig
from common.synthesis.whole_slices import (
    ClassSource,
    CriticExamples,
    Draws,
    SamplingBatch,
    draw_noise,
    turned_slices,
)
from common.training.diffaugment import Augmentation, diffaugment
from common.training.gan import GanTrainer, grey
from common.training.kinds import SamplingTrainer
from common.training.patients import PatientDraw, PatientTrainer, PatientUpdate
from common.training.shares import counts_of_a_share
from common.training.trainer import View
from common.training.wgan_gp_config import Config, Domain

__all__ = ["Config", "Domain", "SamplingBatch", "Trainer"]

SAMPLES_AT_ONCE = 64

BACKGROUND = 0.02
"""Grey values below this are background in what is made."""

CODE_SIZE = 2 + CONDITION_SIZE
"""Tumour, no tumour, organ and contrasts."""


class Trainer(SamplingTrainer[SamplingBatch], GanTrainer[SamplingBatch], PatientTrainer[Any]):
    """Trains generator and critic at one site and makes slices there."""

    family = "wgan_gp"
    adversary = "critic"
    config: Config

    @classmethod
    def check_config(cls, config: Config, image: ImageConfig, key: str = "model") -> None:
        """Also refuses a critic too deep for the slices, and domains of unequal numbers of contrasts."""
        super().check_config(config, image, key)
        if (smallest := 2**config.critic_layers) > image.size:
            needed = f"needs image.size of at least {smallest}, got {image.size}"
            raise refused(f"{key}.critic_layers", config.critic_layers, needed)
        if config.domains is not None and len({len(domain.contrasts) for domain in config.domains}) != 1:
            shown = [asdict(domain) for domain in config.domains]
            raise refused(f"{key}.domains", shown, "must be null, or at least one, with equally many contrasts in each")

    @classmethod
    def count_channels(cls, config: Config, organs: Mapping[str, tuple[str, ...]]) -> int:
        """Those of ``config.domains`` where set."""
        return len(config.domains[0].contrasts) if config.domains else super().count_channels(config, organs)

    @classmethod
    def recipes(cls, config: Config, *, size: int, channels: int) -> dict[str, Recipe]:
        """The generator of slices."""
        recipe = Recipe(
            SliceGenerator,
            {
                "size": size,
                "channels": channels,
                "noise_size": config.noise_size,
                "code_size": CODE_SIZE,
                "width": config.width,
                "norm": config.norm,
            },
            task="Makes a whole slice from noise, with a tumour or without one.",
            inputs=(
                Port(name="noise", shape=f"(B, {config.noise_size})", meaning="standard normal"),
                Port(name="grain", shape=f"(B, 1, {size}, {size})", meaning="standard normal"),
                Port(
                    name="code",
                    shape=f"(B, {CODE_SIZE})",
                    meaning="1, 0 with a tumour or 0, 1 without one, then condition_code(organ, contrasts)",
                ),
            ),
            output=output_port(channels, f"; below {BACKGROUND} is background, to be set to 0"),
            companions=(condition_code, grey_values),
        )
        return {"generator": recipe}

    def build_adversaries(self) -> dict[str, nn.Module]:
        """The critic."""
        c = self.config
        return {"critic": Critic(self.channels, code_size=CODE_SIZE, width=c.critic_width, layers=c.critic_layers)}

    def build_optimiser(self, parameters: list[nn.Parameter], rate: float) -> torch.optim.Optimizer:
        """Adam or RMSProp."""
        if self.config.optimiser == "rmsprop":
            return torch.optim.RMSprop(parameters, lr=rate)
        return super().build_optimiser(parameters, rate)

    def set_up(self, weights: WeightsConfig | None) -> None:
        """The Wasserstein loss."""
        self.generator, self.critic = self.trained["generator"], self.trained["critic"]
        self.size = self.image.size
        self.adversarial = adversarial_loss("wasserstein")
        self.waited = 0

    @classmethod
    def view(cls, config: Config, study: Mapping[str, tuple[str, ...]], organ: str, held: Sequence[str]) -> View | None:
        """The first of ``config.domains`` that the site can serve; without domains, what the study looks at."""
        if config.domains is None:
            return super().view(config, study, organ, held)
        for domain in config.domains:
            if domain.organ == organ and set(domain.contrasts) <= set(held):
                return View(organ, tuple(domain.contrasts))
        return None

    # ------------------------------------------------------------------ examples

    def batches(self, slices: Slices, count: int, seed: int) -> Iterator[SamplingBatch]:
        """``count`` batches; ``tumour_share`` of the slices in each hold a tumour.

        Raises:
            DataError: if the site has too few slices with a tumour, or without one.
        """
        c, source = self.config, ClassSource(slices, self.config)
        tumours = counts_of_a_share(c.batch_size, c.tumour_share, count, seed)
        return (
            source.draw(number, torch_generator(seed, Label.WGAN_GP, Label.BATCH, i))
            for i, number in enumerate(tumours)
        )

    @classmethod
    def check_slices(cls, config: Config, slices: Slices) -> None:
        """Raises ``DataError`` for too few slices with a tumour, or without one."""
        ClassSource(slices, config)

    # ------------------------------------------------------------------ training

    def train_step(self, batch: SamplingBatch) -> dict[str, Tensor]:
        """``n_critic`` steps of the critic and one of the generator.

        ``critic`` is minus the critic's estimate of the Wasserstein distance; ``adversarial`` is minus the mean score
        of generated slices.
        """
        with torch.no_grad():
            # The generator stands still during the critic's steps, so all their images are made at once.
            tumour, noise, grain = (
                torch.cat([getattr(one, name) for one in batch.critic]) for name in ("tumour", "noise", "grain")
            )
            made = self._generate(self.generator, Draws(tumour, noise, grain, batch.condition)).chunk(len(batch.critic))
        self.critic.requires_grad_(True)
        steps = []
        for examples, generated in zip(batch.critic, made, strict=True):
            steps.append(self._critic_losses(examples, generated))
            self.descend("critic", steps[-1].pop("total"))
        losses = {name: torch.stack([step[name].detach() for step in steps]).mean() for name in steps[0]}

        self.critic.requires_grad_(False)
        losses["adversarial"] = self._generator_loss(batch)
        self.descend("generator", losses["adversarial"])
        return {name: value.detach() for name, value in losses.items()}

    def _critic_losses(self, examples: CriticExamples, generated: Tensor) -> dict[str, Tensor]:
        """Each loss of the critic, and their weighted ``total``; ``generated`` (B, C, H, W) in [0, 1]."""
        c = self.config
        real = self._shown(examples.images.to(self.device), examples.augmentation)
        generated = self._shown(generated, examples.augmentation)
        code = self._code(examples)
        real_scores, generated_scores = self.run(
            self.critic, torch.cat([real, generated]), torch.cat([code, code])
        ).chunk(2)
        distance = self.adversarial.discriminator(real_scores, generated_scores)
        penalty = gradient_penalty(lambda x: self.critic(x, code), real, generated, examples.mixing)
        drift = real_scores.mean((1, 2, 3)).square().mean()
        total = distance + c.gradient_penalty * penalty + c.drift * drift
        return {"critic": distance, "gradient_penalty": penalty, "total": total}

    def _generator_loss(self, draws: Draws) -> Tensor:
        return self.adversarial.generator(self._scores(draws))

    def _scores(self, draws: Draws) -> Tensor:
        """The critic's scores of what the generator makes of ``draws``."""
        made = self._generate(self.generator, draws)
        return self.run(self.critic, self._shown(made, draws.augmentation), self._code(draws))

    # ------------------------------------------------------------------ one patient

    def patient_examples(self, draw: PatientDraw, generator: torch.Generator) -> CriticExamples:
        """The slices as they are, some turned, and the noise of as many generated ones of the same classes."""
        c, count = self.config, len(draw.slices)
        images = turned_slices(draw.slices.images, c.augmented_share, c.rotation, generator)
        drawn = Draws(draw.tumour, *draw_noise(count, c.noise_size, self.size, generator), draw.condition)
        return CriticExamples(**vars(drawn), images=images, mixing=torch.rand(count, generator=generator))

    def patient_updates(self, condition: Tensor) -> Sequence[PatientUpdate[CriticExamples]]:
        """``n_critic`` of the critic, the one network that sees a patient."""

        def judge(examples: CriticExamples) -> Tensor:
            with torch.no_grad():
                generated = self._generate(self.generator, examples)
            return self._critic_losses(examples, generated)["total"]

        return [PatientUpdate("critic", {"critic": self.critic}, judge)] * self.config.n_critic

    def public_update(self, condition: Tensor, generator: torch.Generator) -> None:
        """A step of the generator on classes of a public prior: processing of a critic that is private already.

        It waits while the critic, by the generated slices alone, is behind: while fewer than ``critic_lead`` of them
        score below 0, for at most ``critic_wait`` steps (after Bie et al. 2023).
        """
        c = self.config
        start = int(torch.randint(2**62, (), generator=generator))
        (tumours,) = counts_of_a_share(c.batch_size, c.tumour_share, 1, start)
        classes = torch.arange(c.batch_size) < tumours
        draws = Draws(classes, *draw_noise(c.batch_size, c.noise_size, self.size, generator), condition)
        if c.critic_lead > 0 and self.waited < c.critic_wait:
            with torch.no_grad():
                ahead = float((self._scores(draws).mean((1, 2, 3)) < 0).float().mean())
            if ahead < c.critic_lead:
                self.waited += 1
                return
        self.waited = 0
        self.critic.requires_grad_(False)
        self.descend("generator", self._generator_loss(draws))
        self.critic.requires_grad_(True)

    # ------------------------------------------------------------------ networks

    def _code(self, draws: Draws) -> Tensor:
        """(B, 2 + K): tumour, no tumour, organ and contrasts."""
        classes = torch.stack([draws.tumour, ~draws.tumour], dim=1).to(draws.condition)
        return torch.cat([classes, draws.condition.expand(len(classes), -1)], dim=1).to(self.device)

    def _generate(self, network: nn.Module, draws: Draws) -> Tensor:
        return grey(self.run(network, draws.noise.to(self.device), draws.grain.to(self.device), self._code(draws)))

    def _shown(self, images: Tensor, augmentation: Augmentation | None) -> Tensor:
        """Images as the critic sees them, in [-1, 1]."""
        return (images if augmentation is None else diffaugment(images, augmentation)) * 2 - 1

    # ------------------------------------------------------------------ images

    def sample(self, tumour: Tensor, condition: Tensor, seed: int) -> Tensor:
        """(N, C, H, W) float32 in [0, 1] on the CPU, made as the classes ``tumour`` (N,) bool; ``condition`` is (K,).

        Values below ``BACKGROUND`` become 0: the background of real slices is exactly 0, which no ``tanh`` reaches.
        """
        generator = torch_generator(seed, Label.WGAN_GP, Label.SAMPLE)
        noise = torch.randn(len(tumour), self.config.noise_size, generator=generator)
        sampler = self.averaged().eval()
        with torch.no_grad():
            parts = []
            for some, classes in zip(*(torch.split(one, SAMPLES_AT_ONCE) for one in (noise, tumour)), strict=True):
                grain = torch.randn(len(some), 1, self.size, self.size, generator=generator)
                parts.append(self._generate(sampler, Draws(classes, some, grain, condition)).cpu())
        images = torch.cat(parts)
        return torch.where(images < BACKGROUND, 0.0, images)
