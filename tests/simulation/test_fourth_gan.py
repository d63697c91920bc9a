"""A fourth GAN is a network, a trainer and a configuration, three new files: nothing that exists has to change."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import TinyStudy

from common.array_files import read_tensors
from common.results import Results

ROOT = Path(__file__).parents[2]
PACKAGES = ("client", "common", "configs", "server", "simulation")

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
        base = self.base(torch.cat([noise, tumour[:, None].float()], dim=1)).relu()
        made: Tensor = self.last(self.first(base.unflatten(1, (-1, self.side, self.side))).relu()).sigmoid()
        return made


class PlainDiscriminator(nn.Module):
    """A score (B,) for each slice (B, C, S, S) and its class (B,) bool."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels + 1, width, 4, 2, 1)
        self.last = nn.Conv2d(width, 1, 4, 2, 1)

    def forward(self, images: Tensor, tumour: Tensor) -> Tensor:
        told = tumour[:, None, None, None].expand(-1, 1, *images.shape[2:]).float()
        score: Tensor = self.last(self.first(torch.cat([images, told], dim=1)).relu()).mean((1, 2, 3))
        return score
'''

TRAINER = '''
"""The GAN of Goodfellow et al. 2014, as plain as it can be."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from common.experiment import ImageConfig, WeightsConfig
from common.imaging.slices import Slices
from common.losses.adversarial import adversarial_loss
from common.networks.plain_gan import PlainDiscriminator, PlainGenerator
from common.seeding import derive_seed, torch_generator
from common.training.kinds import SamplingTrainer, SyntheticSlices
from common.training.trainer import OptimiserStep, plain_step


@dataclass
class Config:
    width: int = 8
    noise_size: int = 16
    batch_size: int = 4
    learning_rate: float = 1e-3


@dataclass(frozen=True)
class PlainBatch:
    images: Tensor
    tumour: Tensor
    noise: Tensor


class Trainer(SamplingTrainer[PlainBatch]):
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
        self.config, self.size = config, image.size
        channels = len(next(iter(organs.values())))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(seed, "plain_gan", "weights"))
            self.generator = PlainGenerator(config.noise_size, channels, image.size, config.width)
            self.discriminator = PlainDiscriminator(channels, config.width)
        self.networks = {"generator": self.generator.to(device), "discriminator": self.discriminator.to(device)}
        self.optimisers = {
            name: torch.optim.Adam(network.parameters(), lr=config.learning_rate, betas=(0.5, 0.999))
            for name, network in self.networks.items()
        }
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
        real, tumour = batch.images.to(self.device), batch.tumour.to(self.device)
        made = self.generator(batch.noise.to(self.device), tumour)
        told_apart = self.loss.discriminator(
            self.discriminator(real, tumour), self.discriminator(made.detach(), tumour)
        )
        self.descend("discriminator", told_apart)
        fooled = self.loss.generator(self.discriminator(made, tumour))
        self.descend("generator", fooled)
        return {"discriminator": told_apart.detach(), "generator": fooled.detach()}

    def sample(self, tumour: Tensor, condition: Tensor, seed: int) -> Tensor:
        noise = torch.randn(len(tumour), self.config.noise_size, generator=torch_generator(seed, "plain_gan", "noise"))
        with torch.no_grad():
            return self.generator(noise.to(self.device), tumour.to(self.device)).cpu()

    def synthesise(self, slices: Slices, count: int, seed: int) -> SyntheticSlices:
        tumour = torch.arange(count) < count - count // 2
        images = self.sample(tumour, slices.condition(), derive_seed(seed, "plain_gan", "synthesise"))
        return SyntheticSlices(
            images=images,
            labels=torch.zeros(count, self.size, self.size, dtype=torch.uint8),
            tumour=tumour,
            foreground=(images > 0).any(1),
            origin=torch.full((count,), -1),
        )
'''

CONFIG = """# @package models.plain_gan
family: plain_gan
width: 8
noise_size: 16
batch_size: 4
learning_rate: 1.0e-3
"""

ADDED = {
    "common/networks/plain_gan.py": NETWORK,
    "common/training/plain_gan.py": TRAINER,
    "configs/model/plain_gan.yaml": CONFIG,
}

pytestmark = pytest.mark.slow
STUDY = ("study.arms=[real,real_synthetic]", "classifier.federation.rounds=1", "evaluation.frechet_images=8")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny_study: TinyStudy) -> Path:
    """The folder of a study of this GAN, run by a copy of the project with three more files."""
    copy, output = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("output")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, copy / package)
    for name, text in ADDED.items():
        assert not (copy / name).exists()
        (copy / name).write_text(text.lstrip())
    overrides = [item for item in tiny_study.overrides if not item.startswith("models.cgan")]
    study = TinyStudy(tiny_study.root, tuple(overrides)).with_output(output, "model=[plain_gan]", *STUDY)
    done = subprocess.run(
        [sys.executable, "-m", "simulation.cli", "run", *study],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    (folder,) = [path for path in (output / "runs").iterdir() if path.name != "latest"]
    return folder


@pytest.fixture(scope="module")
def results(finished: Path) -> Results:
    return Results.model_validate_json((finished / "results.json").read_text())


def test_its_rounds_are_federated_and_scored_by_what_it_makes(results: Results) -> None:
    gan = results.gans["plain_gan"]
    assert (gan.family, gan.exchange, gan.score) == ("plain_gan", "average", "nearest")
    assert [r.contributors for r in gan.rounds] == [["hospital1", "hospital2", "hospital3"]] * 2
    assert all(r.scores["brain"].protocol == "nearest" for r in gan.rounds)
    assert all(set(r.losses) == {"discriminator", "generator"} for r in gan.rounds)


def test_its_chosen_round_has_final_scores(results: Results) -> None:
    final = results.gans["plain_gan"].final["brain"]
    assert 0 < final["nearest_ssim"].value < 1


def test_its_images_augment_the_classifier(results: Results) -> None:
    assert set(results.arms["hospital1"]) == {"real", "real_synthetic"}
    assert results.arms["hospital1"]["real_synthetic"]["accuracy"].value is not None


def test_its_weights_crossed_the_wire_under_their_own_names(finished: Path) -> None:
    weights = read_tensors(finished / "checkpoints" / "gan" / "plain_gan" / "round-00002.safetensors")
    assert {"generator.base.weight", "discriminator.last.bias"} <= set(weights)


def test_the_report_has_its_section(finished: Path) -> None:
    page = (finished / "report" / "index.html").read_text()
    assert "plain_gan: whole slices from noise" in page
    assert "plain_gan of round" in page
    assert (finished / "reference" / "plain_gan" / "brain.npz").exists()
