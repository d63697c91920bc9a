"""What a private step costs: over the same step without privacy, on the same patients.

Both descend the loss of the project's own networks on the same batch of patients: the plain step by one backward pass
over all slices, the private one by one gradient a patient, clipping, noise and Opacus' optimiser. They run in turn in
one process; the ratio is the median over pairs.

    python benchmarks/dp_step.py                       PatchGAN and WGAN-GP critic at 128x128
    python benchmarks/dp_step.py --mode vmap --size 64
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from client.privacy.gradients import GradSampleMode, PrivateStep
from client.privacy.patients import Drawn, PoissonPatients
from client.privacy.randomness import PrivateRandom
from common.imaging.slices import PatientSlices, Slices
from common.study.experiment import ClassifierConfig, ImageConfig
from common.training import cgan, classifier, cyclegan, wgan_gp
from common.training.patients import PatientTrainer, PatientUpdate

LIMIT = 1.5
"""What the two named cases may cost at 128x128."""


def patients(count: int, size: int, slices: int = 8) -> Slices:
    """Noise in a disc, half of the slices with a lesion."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:size, :size]
    inside = np.hypot(rows - size / 2, columns - size / 2) < 0.45 * size
    labels = np.zeros((slices, size, size), np.uint8)
    labels[::2, size // 3 : size // 2, size // 3 : size // 2] = 2
    made = [
        PatientSlices(
            f"p{index}",
            (random.uniform(0.1, 0.9, (slices, 1, size, size)) * inside).astype(np.float16),
            labels,
            np.repeat(inside[None], slices, 0).astype(np.uint8),
        )
        for index in range(count)
    ]
    return Slices("brain", ("t1",), made, 4)


def cases(size: int, width: int, device: torch.device) -> dict[str, tuple[PatientTrainer[Any], str]]:
    """Name -> trainer and the optimiser whose step is timed."""
    common: dict[str, Any] = {
        "image": ImageConfig(size=size),
        "organs": {"brain": ("t1",)},
        "device": device,
        "seed": 1,
    }
    patch = cgan.Trainer(
        cgan.Config(
            width=width // 2, depth=4, discriminator_width=width, discriminator_layers=3, crop=0, perceptual_weight=0
        ),
        **common,
    )
    critic = wgan_gp.Trainer(wgan_gp.Config(width=width // 4, critic_width=width), **common)
    cycle = cyclegan.Trainer(cyclegan.Config(width=width // 4, exchange="average", pool=0), **common)
    common.pop("organs")
    small = classifier.Trainer(ClassifierConfig(), channels=1, total_steps=100, **common)
    return {
        "PatchGAN": (patch, "discriminator"),
        "WGAN-GP critic": (critic, "critic"),
        "U-Net": (patch, "generator"),
        "CycleGAN generators": (cycle, "generator"),
        "classifier": (small, "classifier"),
    }


def whole(batches: list[Any]) -> Any:
    """The patients' examples as one batch, as a plain step would see them."""
    first = batches[0]
    values = {field.name: getattr(first, field.name) for field in fields(first)}
    together = {
        name: torch.cat([getattr(one, name) for one in batches])
        for name, value in values.items()
        if isinstance(value, Tensor) and name != "condition"
    }
    return replace(first, **together)


def plain_step(trainer: PatientTrainer[Any], update: PatientUpdate[Any], batch: Any) -> Callable[[], None]:
    optimiser = torch.optim.Adam(update.parameters().values(), lr=0.0)

    def step() -> None:
        optimiser.zero_grad()
        parameters = list(update.parameters().values())
        gradients = torch.autograd.grad(update.loss(batch), parameters, allow_unused=True)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        optimiser.step()

    return step


def private_step(update: PatientUpdate[Any], batches: list[Drawn], mode: GradSampleMode) -> Callable[[], None]:
    optimiser = torch.optim.Adam(update.parameters().values(), lr=0.0)
    taker = PrivateStep(
        optimiser,
        update,
        sigma=1.0,
        max_grad_norm=1.0,
        expected=len(batches),
        noise=PrivateRandom().stream(),
        mode=mode,
    )
    return lambda: taker.take(batches)


def seconds(step: Callable[[], None], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    begun = time.process_time() if device.type == "cpu" else time.perf_counter()
    step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (time.process_time() if device.type == "cpu" else time.perf_counter()) - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=["PatchGAN", "WGAN-GP critic"], help="cases, or all")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--patients", type=int, default=8)
    parser.add_argument("--slices", type=int, default=4)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--mode", choices=[mode.value for mode in GradSampleMode], default="loop")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    device = torch.device(options.device)
    if device.type == "cpu":
        torch.set_num_threads(1)
    cohort = patients(options.patients, options.size)
    found = cases(options.size, options.width, device)
    ratios: dict[str, float] = {}
    for name in found if options.names == ["all"] else options.names:
        trainer, optimiser = found[name]
        trainer.to_training_mode()
        update = next(u for u in trainer.patient_updates(cohort.condition()) if u.optimiser == optimiser)
        batches = PoissonPatients(
            [cohort],
            rate=1.0,
            slices=options.slices,
            make=trainer.patient_examples,
            random=PrivateRandom(bytes(32)),
        ).draw()
        plain, private = (
            plain_step(trainer, update, whole([drawn.batch for drawn in batches])),
            private_step(update, batches, GradSampleMode(options.mode)),
        )
        for step in (plain, private):
            step()
        pairs = [(seconds(private, device), seconds(plain, device)) for _ in range(options.pairs)]
        each = sorted(a / b for a, b in pairs)
        ratios[name] = statistics.median(each)
        print(
            f"{name}, {options.size} px, {len(batches)} patients of {options.slices} slices, {options.mode}: "
            f"{ratios[name]:.2f} times a plain step ({each[0]:.2f} to {each[-1]:.2f})",
            flush=True,
        )
    if options.size == 128:
        print(f"limit for PatchGAN and WGAN-GP critic at 128 px: {LIMIT}")
    print("private step over plain step: " + ", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items()))


if __name__ == "__main__":
    main()
