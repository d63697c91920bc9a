"""A fourth GAN in three files: its network, its trainer with export and privacy, and its configuration."""

NETWORK = '''
"""Generator and discriminator of the plainest GAN: two layers each, told the class and nothing else."""

import torch
from torch import Tensor, nn


class PlainGenerator(nn.Module):
    """A slice (B, C, S, S) from noise (B, noise_size) and a class (B,) bool."""

    def __init__(self, noise_size: int, channels: int, size: int, width: int) -> None:
        super().__init__()
        self.side = size // 4
        self.base = nn.Linear(noise_size + 1, width * self.side**2)
        self.first = nn.ConvTranspose2d(width, width, 4, 2, 1)
        self.last = nn.ConvTranspose2d(width, channels, 4, 2, 1)

    def forward(self, noise: Tensor, tumour: Tensor) -> Tensor:
        base = self.base(torch.cat([noise, tumour[:, None].to(noise)], dim=1)).relu()
        made: Tensor = self.last(self.first(base.unflatten(1, (-1, self.side, self.side))).relu()).sigmoid()
        return made


class PlainDiscriminator(nn.Module):
    """A score (B,) for each slice (B, C, S, S) and its class (B,) bool."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels + 1, width, 4, 2, 1)
        self.last = nn.Conv2d(width, 1, 4, 2, 1)

    def forward(self, images: Tensor, tumour: Tensor) -> Tensor:
        classes = tumour[:, None, None, None].expand(-1, 1, *images.shape[2:]).to(images)
        score: Tensor = self.last(self.first(torch.cat([images, classes], dim=1)).relu()).mean((1, 2, 3))
        return score
'''

TRAINER = '''
"""The GAN of Goodfellow et al. 2014, as plain as it can be."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from common.study.allowed import RATE, between, private
from common.study.experiment import WeightsConfig
from common.export.card import Port
from common.export.recipe import Recipe
from common.imaging.slices import Slices
from common.losses.adversarial import adversarial_loss
from common.networks.plain_gan import PlainDiscriminator, PlainGenerator
from common.seeding import torch_generator
from common.training.gan import GanTrainer
from common.training.gan_config import GanConfig
from common.training.kinds import SamplingTrainer
from common.training.patients import PatientDraw, PatientTrainer, PatientUpdate


@dataclass
class Config(GanConfig):
    noise_size: int = field(default=16, metadata=between(1, 1000))
    discriminator_learning_rate: float = field(default=2e-4, metadata=RATE)
    memory: int = field(default=0, metadata=between(0, 9) | private(0, because="it shows patients of earlier steps"))


@dataclass(frozen=True)
class PlainBatch:
    images: Tensor
    tumour: Tensor
    noise: Tensor


class Trainer(SamplingTrainer[PlainBatch], GanTrainer[PlainBatch], PatientTrainer[PlainBatch]):
    family = "plain_gan"
    config: Config

    @classmethod
    def recipes(cls, config: Config, *, size: int, channels: int) -> Mapping[str, Recipe]:
        noise = Port(name="noise", shape=f"(B, {config.noise_size})", meaning="standard normal")
        tumour = Port(name="tumour", shape="(B,)", meaning="True for a tumour")
        made = Port(name="output", shape=f"(B, {channels}, {size}, {size})", meaning="slices in [0, 1]")
        arguments = dict(noise_size=config.noise_size, channels=channels, size=size, width=config.width)
        return {"generator": Recipe(PlainGenerator, arguments, "Makes a slice.", (noise, tumour), made)}

    def build_adversaries(self) -> dict[str, nn.Module]:
        return {"discriminator": PlainDiscriminator(self.channels, self.config.width)}

    def set_up(self, weights: WeightsConfig | None) -> None:
        self.loss = adversarial_loss("vanilla")

    def batches(self, slices: Slices, count: int, seed: int) -> Iterator[PlainBatch]:
        classes = torch.from_numpy(slices.tumour_class())

        def draw(index: int) -> PlainBatch:
            generator = torch_generator(seed, "plain_gan", "batch", index)
            chosen = torch.randint(len(slices), (self.config.batch_size,), generator=generator)
            noise = torch.randn(len(chosen), self.config.noise_size, generator=generator)
            return PlainBatch(slices.batch(chosen).images, classes[chosen], noise)

        return (draw(index) for index in range(count))

    def train_step(self, batch: PlainBatch) -> dict[str, Tensor]:
        judged = self.judge(batch)
        self.descend("discriminator", judged)
        tumour = batch.tumour.to(self.device)
        made = self.run(self.trained["generator"], batch.noise.to(self.device), tumour)
        fooled = self.loss.generator(self.run(self.trained["discriminator"], made, tumour))
        self.descend("generator", fooled)
        return {"discriminator": judged.detach(), "generator": fooled.detach()}

    def judge(self, batch: PlainBatch) -> Tensor:
        tumour, judge = batch.tumour.to(self.device), self.trained["discriminator"]
        with torch.no_grad():
            made = self.run(self.trained["generator"], batch.noise.to(self.device), tumour)
        return self.loss.discriminator(
            self.run(judge, batch.images.to(self.device), tumour), self.run(judge, made, tumour)
        )

    def patient_examples(self, draw: PatientDraw, generator: torch.Generator) -> PlainBatch:
        noise = torch.randn(len(draw.tumour), self.config.noise_size, generator=generator)
        return PlainBatch(draw.slices.images, draw.tumour, noise)

    def patient_updates(self, condition: Tensor) -> Sequence[PatientUpdate[PlainBatch]]:
        return [PatientUpdate("discriminator", self.networks_of("discriminator"), self.judge)]

    def sample(self, tumour: Tensor, condition: Tensor, seed: int) -> Tensor:
        noise = torch.randn(len(tumour), self.config.noise_size, generator=torch_generator(seed, "plain_gan", "noise"))
        with torch.no_grad():
            return self.run(self.averaged(), noise.to(self.device), tumour.to(self.device)).cpu()
'''

CONFIG = """# @package models.plain_gan
family: plain_gan
"""

FILES = {
    "common/networks/plain_gan.py": NETWORK,
    "common/training/plain_gan.py": TRAINER,
    "configs/model/plain_gan.yaml": CONFIG,
}
