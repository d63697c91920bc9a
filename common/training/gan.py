"""What every GAN here has in common: networks from a seed, optimisers, falling rates, averaged generators."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from common.export.recipe import Recipe
from common.networks.patchgan import PatchGAN
from common.seeding import Label, derive_seed
from common.study.experiment import ImageConfig, WeightsConfig
from common.study.precision import full_precision
from common.training.ema import averaged_copy, update_average
from common.training.gan_config import GanConfig, PatchGanConfig
from common.training.schedule import RateSchedule
from common.training.trainer import OptimiserStep, Trainer, plain_step

Batch = TypeVar("Batch")


class GanTrainer(Trainer[Batch]):
    """Trains generators and their adversaries (discriminators, or a critic) at one site.

    Args:
        config: the model's choices.
        image: size of a slice.
        organs: contrasts of a slice by organ, equally many for each; a configuration may name its own.
        device: where the networks live.
        step: takes the place of ``optimizer.step()``.
        weights: files of pre-trained weights (VGG19's, if a perceptual loss needs them).
        seed: of the first weights; the same seed gives the same weights on every machine.

    Attributes:
        channels: contrasts of a slice.
        trained: the networks that take optimiser steps, by name.
        schedule: of the learning rates.

    Raises:
        ConfigError: for values that cannot work together.
        WeightsError: if pre-trained weights are needed and missing.
    """

    family: ClassVar[str]
    """Its module; seeds are derived from it."""
    adversary: ClassVar[str] = "discriminator"
    """Where the names of its adversaries begin; their optimiser's name."""

    config: GanConfig

    def __init__(
        self,
        config: GanConfig,
        *,
        image: ImageConfig,
        organs: Mapping[str, tuple[str, ...]],
        device: torch.device,
        step: OptimiserStep = plain_step,
        weights: WeightsConfig | None = None,
        seed: int,
    ) -> None:
        super().__init__(device=device, step=step)
        self.check_config(config, image)
        self.config, self.image = config, image
        self.channels = self.count_channels(config, organs)
        recipes = self.recipes(config, size=image.size, channels=self.channels)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(seed, self.family, Label.WEIGHTS))
            built = {name: recipe.build() for name, recipe in recipes.items()} | self.build_adversaries()
        self.trained: dict[str, nn.Module] = {name: network.to(device) for name, network in built.items()}
        averages = {f"{name}_ema": averaged_copy(self.trained[name]) for name in recipes if config.ema > 0}
        self.networks = {**self.trained, **averages}
        rates = {
            "generator": config.learning_rate,
            self.adversary: getattr(config, f"{self.adversary}_learning_rate"),
        }
        self.schedule = RateSchedule(rates, config.decay_steps)
        self.optimisers = {
            name: self.build_optimiser([p for one in self.networks_of(name).values() for p in one.parameters()], rate)
            for name, rate in rates.items()
        }
        self.set_up(weights)

    @classmethod
    @abstractmethod
    def recipes(cls, config: Any, *, size: int, channels: int) -> Mapping[str, Recipe]:
        """How each generator is built, by its name in ``networks``, and how it is used where it is exported."""

    @abstractmethod
    def build_adversaries(self) -> dict[str, nn.Module]:
        """The adversaries by name, with new weights from torch's global generator."""

    def set_up(self, weights: WeightsConfig | None) -> None:
        """What the losses and batches need beside the networks, which are there already."""

    @classmethod
    def count_channels(cls, config: Any, organs: Mapping[str, tuple[str, ...]]) -> int:
        """Contrasts of a slice."""
        return len(next(iter(organs.values())))

    def build_optimiser(self, parameters: list[nn.Parameter], rate: float) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(parameters, lr=rate, betas=(self.config.betas[0], self.config.betas[1]))

    def networks_of(self, optimiser: str) -> dict[str, nn.Module]:
        """The trained networks whose names begin with that of their optimiser."""
        return {name: network for name, network in self.trained.items() if name.startswith(optimiser)}

    def averaged(self, generator: str = "generator") -> nn.Module:
        """The network that makes images: the average of ``generator``, or itself where none is kept."""
        return self.networks.get(f"{generator}_ema", self.trained[generator])

    def begin_step(self) -> None:
        """The rates of this step."""
        self.schedule.apply(self.optimisers, self.steps_done)

    def end_step(self) -> None:
        """The averaged generators follow."""
        self.follow()
        super().end_step()

    def follow(self, steps: int = 1) -> None:
        """Moves the averages as ``steps`` steps at the present weights would."""
        for average, name in self._averages():
            update_average(average, self.trained[name], self.config.ema**steps, self.steps_done)

    def _averages(self) -> Iterator[tuple[nn.Module, str]]:
        return ((one, name.removesuffix("_ema")) for name, one in self.networks.items() if name not in self.trained)

    def run(self, network: nn.Module, *inputs: Tensor) -> Tensor:
        """The network's output in full precision, computed in the configured one."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bf16"):
            output: Tensor = network(*inputs)
        return full_precision(output)


def grey(output: Tensor) -> Tensor:
    """A generator's output as grey values in [0, 1]."""
    return (torch.tanh(output) + 1) / 2


def patch_discriminator(config: PatchGanConfig, channels: int) -> PatchGAN:
    """The configured PatchGAN for ``channels`` channels."""
    return PatchGAN(
        channels,
        width=config.discriminator_width,
        layers=config.discriminator_layers,
        spectral_norm=config.spectral_norm,
    )
