"""What is refused before a private training: each is a way in which epsilon would silently not hold."""

from typing import Any

import pytest
import torch
from private_trainers import DEVICE, FAMILIES, SIZE, build, cohort, draw_batches
from torch import nn

from client.privacy.checks import require_equal_halves, require_patients, require_private
from client.privacy.patients import PoissonPatients
from client.privacy.randomness import PrivateRandom
from client.privacy.training import Noise, train_privately
from common.errors import PrivacyError
from common.study.experiment import ClassifierConfig, ImageConfig
from common.training import cgan, classifier, cyclegan
from common.training.patients import PatientTrainer
from common.training.trainer import Trainer

COMMON: dict[str, Any] = {
    "image": ImageConfig(size=SIZE),
    "organs": {"brain": ("t1",)},
    "device": DEVICE,
    "seed": 1,
}
NOISE = Noise(sigma=1.0, max_grad_norm=1.0, rate=0.5, expected=2.0, slices=2)


def refused(trainer: Trainer[Any], match: str) -> None:
    """Both the check and a training are refused, and nothing is charged."""
    with pytest.raises(PrivacyError, match=match):
        require_private(trainer)
    charged: list[str] = []
    slices = cohort([3, 3])
    patients = PoissonPatients([slices], rate=0.5, slices=2, make=lambda draw, generator: draw, random=PrivateRandom())
    with pytest.raises(PrivacyError, match=match):
        train_privately(
            trainer,
            patients,
            3,
            NOISE,
            condition=slices.condition(),
            charge=lambda name, steps: charged.append(name),
        )
    assert charged == []


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_can_be_private_as_it_is_configured_for_that(family: str) -> None:
    trainer, _ = build(family)
    assert require_private(trainer) is trainer


@pytest.mark.parametrize(
    ("layer", "match"),
    [
        (nn.BatchNorm2d(4), "BatchNorm2d mixes patients"),
        (nn.SyncBatchNorm(4), "SyncBatchNorm mixes patients"),
        (nn.InstanceNorm2d(4, track_running_stats=True), "InstanceNorm2d mixes patients"),
        (nn.ReLU(inplace=True), "ReLU works in place"),
        (nn.LeakyReLU(0.2, inplace=True), "LeakyReLU works in place"),
        (nn.utils.parametrizations.spectral_norm(nn.Conv2d(4, 4, 3)), "spectral normalisation"),
    ],
)
def test_layers_that_break_the_guarantee_are_named(layer: nn.Module, match: str) -> None:
    trainer, _ = build("cgan")
    trainer.networks["discriminator"].add_module("added", layer)
    refused(trainer, match)
    with pytest.raises(PrivacyError, match=r"discriminator\.added"):
        require_private(trainer)


def test_resnet_50_is_refused_for_its_batch_normalisation() -> None:
    config = ClassifierConfig(network="resnet50")
    trainer = classifier.Trainer(config, image=ImageConfig(size=SIZE), channels=1, device=DEVICE, seed=1, total_steps=2)
    refused(trainer, "BatchNorm2d mixes patients")


def test_an_image_pool_is_refused() -> None:
    config = cyclegan.Config(width=4, blocks=1, discriminator_width=4, exchange="average", pool=5)
    refused(cyclegan.Trainer(config, **COMMON), "pool=5: a pooled image carries a patient")
    config = cyclegan.Config(width=4, blocks=1, discriminator_width=4, exchange="gradients", pool=0)
    refused(cyclegan.Trainer(config, **COMMON), "exchange=gradients")


def test_spectral_norm_and_diffaugment_are_refused() -> None:
    config = cgan.Config(width=4, depth=2, discriminator_width=4, crop=16, spectral_norm=True)
    refused(cgan.Trainer(config, **COMMON), "spectral_norm=false")
    config = cgan.Config(width=4, depth=2, discriminator_width=4, crop=16, diffaugment="translation")
    refused(cgan.Trainer(config, **COMMON), "diffaugment=translation")


def test_a_training_that_watches_validation_patients_is_refused() -> None:
    class Watching(classifier.Trainer):
        watches_validation = True

    trainer = Watching(
        ClassifierConfig(width=4), image=ImageConfig(size=SIZE), channels=1, device=DEVICE, seed=1, total_steps=2
    )
    refused(trainer, "figures of validation patients")


def test_a_trainer_without_a_loss_of_one_patient_is_refused() -> None:
    class Plain(Trainer[Any]):
        config = None

        def batches(self, slices: Any, count: int, seed: int) -> Any:
            return iter(())

        def train_step(self, batch: Any) -> dict[str, torch.Tensor]:
            return {}

    refused(Plain(device=DEVICE), "no loss of one patient's slices")


def test_batches_balanced_by_class_are_refused() -> None:
    """A trainer's own batches draw tumours and healthy slices in equal numbers, which no accountant knows."""
    trainer, slices = build("classifier")
    charged: list[str] = []
    for batches in (trainer.batches(slices, 3, 1), list(trainer.batches(slices, 3, 1))):
        with pytest.raises(PrivacyError, match="must be Poisson draws of patients"):
            require_patients(batches)
        with pytest.raises(PrivacyError, match="balanced by class"):
            train_privately(
                trainer,
                batches,  # type: ignore[arg-type]
                3,
                NOISE,
                condition=slices.condition(),
                charge=lambda name, steps: charged.append(name),
            )
    assert charged == []


@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "cyclegan"])  # has one half only
def test_real_and_generated_halves_are_equal_and_others_are_refused(family: str) -> None:
    trainer, slices = build(family)
    batch = draw_batches(trainer, slices)[0].batch
    require_equal_halves(batch)
    tensors = [k for k, v in vars(batch).items() if isinstance(v, torch.Tensor) and k != "condition"]
    short = type(batch)(**{**vars(batch), tensors[0]: getattr(batch, tensors[0])[:1]})
    with pytest.raises(PrivacyError, match="unequal numbers of examples"):
        require_equal_halves(short)


def test_the_check_looks_at_the_trainer_that_is_trained() -> None:
    """A layer that is slipped in after the first check is found by the next training."""
    trainer, slices = build("classifier")
    assert isinstance(require_private(trainer), PatientTrainer)
    trainer.networks["classifier"].add_module("late", nn.BatchNorm2d(2).double())
    patients = PoissonPatients([slices], rate=0.5, slices=2, make=trainer.patient_examples, random=PrivateRandom())
    with pytest.raises(PrivacyError, match="late"):
        train_privately(trainer, patients, 1, NOISE, condition=slices.condition(), charge=lambda name, steps: None)
