"""Small trainers of every family, in float64, and patients for them."""

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch

from client.privacy.patients import Drawn, PoissonPatients
from client.privacy.randomness import PrivateRandom
from common.imaging.slices import PatientSlices, Slices
from common.study.experiment import ClassifierConfig, ImageConfig
from common.training import cgan, classifier, cyclegan, translation, wgan_gp
from common.training.patients import PatientTrainer

SIZE = 32
DEVICE = torch.device("cpu")
FAMILIES = ("cgan", "cgan_penalty", "wgan_gp", "cyclegan", "cyclegan_proxies", "translation", "classifier")


def patient(index: int, slices: int, contrasts: int = 1) -> PatientSlices:
    """Noise in a disc; every second slice of every second patient holds a square lesion."""
    random = np.random.default_rng(index)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    inside = np.hypot(rows - SIZE / 2, columns - SIZE / 2) < 0.45 * SIZE
    images = (random.uniform(0.1, 0.9, (slices, contrasts, SIZE, SIZE)) * inside).astype(np.float16)
    labels = np.zeros((slices, SIZE, SIZE), np.uint8)
    if index % 2 == 0:
        labels[::2, 12:18, 13:19] = 2
        labels[::2, 14:16, 15:17] = 1
    return PatientSlices(f"p{index}", images, labels, np.repeat(inside[None], slices, 0).astype(np.uint8))


def cohort(counts: list[int], contrasts: tuple[str, ...] = ("t1",)) -> Slices:
    return Slices("brain", contrasts, [patient(i, n, len(contrasts)) for i, n in enumerate(counts)], 4)


def build(family: str) -> tuple[PatientTrainer[Any], Slices]:
    """A trainer in float64 and a cohort that it can learn from."""
    contrasts = ("t1", "t2") if family == "translation" else ("t1",)
    common: dict[str, Any] = {"image": ImageConfig(size=SIZE), "device": DEVICE, "seed": 3}
    study = {"brain": contrasts}
    trainer: PatientTrainer[Any]
    if family.startswith("cgan"):
        penalty = 10.0 if family == "cgan_penalty" else 0.0
        config = cgan.Config(
            width=4, depth=2, discriminator_width=4, crop=16, batch_size=4, gradient_penalty=penalty, min_slices=1
        )
        trainer = cgan.Trainer(config, organs=study, **common)
    elif family == "wgan_gp":
        trainer = wgan_gp.Trainer(
            wgan_gp.Config(width=2, noise_size=8, critic_width=4, batch_size=4, min_slices=1), organs=study, **common
        )
    elif family.startswith("cyclegan"):
        proxies = family == "cyclegan_proxies"
        trainer = cyclegan.Trainer(
            cyclegan.Config(
                width=4,
                blocks=1,
                discriminator_width=4,
                discriminator_layers=1,
                identity_weight=2.0,
                pool=0,
                min_slices=1,
                exchange="proxies" if proxies else "average",
            ),
            organs=study,
            **common,
        )
        if proxies:
            trainer.give_proxies(torch.rand(6, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(1)))
    elif family == "translation":
        trainer = translation.Trainer(
            translation.Config(width=4, depth=2, discriminator_width=4, perceptual_weight=0.5, min_slices=1),
            organs=study,
            **common,
        )
    else:
        trainer = classifier.Trainer(ClassifierConfig(width=8), channels=1, total_steps=10, **common)
    for network in trainer.networks.values():
        network.double()
    if getattr(trainer, "perceptual", None) is not None:
        trainer.perceptual.double()  # type: ignore[attr-defined]
    trainer.to_training_mode()
    return trainer, cohort([3, 7, 2, 5], contrasts)


def in_float64(batch: Any) -> Any:
    """The same batch with its floating-point tensors in float64."""
    values = {field.name: getattr(batch, field.name) for field in fields(batch)}
    return replace(
        batch,
        **{name: v.double() for name, v in values.items() if isinstance(v, torch.Tensor) and v.is_floating_point()},
    )


def draw_batches(
    trainer: PatientTrainer[Any], slices: Slices, *, k: int = 3, rate: float = 1.0, seed: int = 5
) -> list[Drawn]:
    patients = PoissonPatients(
        [slices], rate=rate, slices=k, make=trainer.patient_examples, random=PrivateRandom(bytes([seed] * 32))
    )
    return [replace(one, batch=in_float64(one.batch)) for one in patients.draw()]


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)
