"""Training steps a second on a GPU: ours in bfloat16 and compiled, over a plain float32 step, for the three GANs.

256x256 slices, 8 a batch, networks as wide as the papers'. Both sides have the same first weights and the same batch,
which lies on the GPU already. The plain side is eager PyTorch as it comes (its convolutions may use TF32, PyTorch's
default): for cGAN and CycleGAN the plain networks and steps of ``step_speed.py``, for the WGAN-GP the networks of this
project in the step of Gulrajani et al. 2017, one batch of generated slices for each step of the critic. Steps of both
sides are timed in turn. Without a GPU there is nothing to measure, which is said. The last lines are the ratios.

    python benchmarks/gpu_steps.py [cgan wgan_gp cyclegan] [--steps 20] [--pairs 5] [--width 64] [--batch 8]

``--device cpu --size 64 --width 8 --batch 2 --precision fp32 --eager`` tries the program itself where there is no GPU.
"""

import argparse
import copy
import importlib.util
import math
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from client.training.prefetch import map_tensors
from common.study.experiment import ImageConfig
from common.training import cgan, cyclegan, wgan_gp
from common.training.build import compile_networks

Losses = dict[str, float]
Step = Callable[[], Losses]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("families", nargs="*", default=["cgan", "wgan_gp", "cyclegan"])
    parser.add_argument("--steps", type=int, default=20, help="in a timed stretch")
    parser.add_argument("--pairs", type=int, default=5, help="timed stretches of each side")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--batch", type=int, default=8, help="slices; of each domain for CycleGAN")
    parser.add_argument("--precision", default="bf16", help="of our side: fp32 or bf16")
    parser.add_argument("--eager", action="store_true", help="do not compile our side")
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("there is no GPU here: nothing was measured")
        return
    print(torch.cuda.get_device_name(device) if device.type == "cuda" else "on the CPU", flush=True)
    builders = {"cgan": insertion, "wgan_gp": sampling, "cyclegan": translation}
    print("\n".join([compare(family, *builders[family](options, device), options) for family in options.families]))


def compare(family: str, ours: Step, plain: Step, options: argparse.Namespace) -> str:
    """The line that says how many of our steps are done in the time of a plain one."""
    sides = {"oncofed": ours, "plain": plain}
    first = {side: step() for side, step in sides.items()}
    check_same(family, first["oncofed"], first["plain"], options.precision)
    for step in sides.values():  # neither side pays for first use; a second shape may have to be compiled, too
        step()
    ratios = []
    for pair in range(options.pairs):
        rate = {}
        for side in sorted(sides, reverse=bool(pair % 2)):
            wait(options.device)
            started = time.perf_counter()
            for _ in range(options.steps):
                sides[side]()
            wait(options.device)
            rate[side] = options.steps / (time.perf_counter() - started)
        ratios.append(rate["oncofed"] / rate["plain"])
        told = ", ".join(f"{side} {value:.2f} steps/s" for side, value in rate.items())
        print(f"{family}, pair {pair + 1} of {options.pairs}: {told}", flush=True)
    how = options.precision if options.eager else f"{options.precision}, compiled"
    return (
        f"{family}, {options.size}x{options.size}, batch {options.batch}, {how}: oncofed / plain, median of "
        f"{options.pairs} pairs: {np.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    )


def check_same(family: str, ours: Losses, plain: Losses, precision: str) -> None:
    """Stops a comparison of two different steps: the first one's losses have to agree."""
    tolerance = 1e-1 if precision == "bf16" else 5e-3
    for loss, value in plain.items():
        difference = abs(ours[loss] - value)
        assert math.isfinite(value), f"{family}: {loss} is {value}"
        assert difference <= tolerance * max(abs(value), 0.1), f"{family}: {loss} differs by {difference} from {value}"


def wait(device: str) -> None:
    """Until the GPU has done what it was asked for."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def on_device(value: Any, device: torch.device) -> Any:
    """Tensors, networks and lists of them, moved; optimisers follow, since networks are moved in place."""
    if isinstance(value, nn.Module):
        return value.to(device)
    if isinstance(value, list) and value and isinstance(value[0], nn.Module):
        return [one.to(device) for one in value]
    return map_tensors(value, lambda tensor: tensor.to(device))


def plain_parts() -> ModuleType:
    """``step_speed.py`` beside this file, whose plain networks and steps are used here too."""
    spec = importlib.util.spec_from_file_location("step_speed", Path(__file__).with_name("step_speed.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def moved(plain: Any, device: torch.device) -> Any:
    """A plain side that was built on the CPU, on ``device``."""
    for name, value in vars(plain).items():
        if isinstance(value, Tensor | nn.Module | list):
            setattr(plain, name, on_device(value, device))
    return plain


def prepared(trainer: Any, options: argparse.Namespace) -> Any:
    """Our trainer as a site would use it."""
    if not options.eager:
        compile_networks(trainer)
    return trainer


# ---------------------------------------------------------------------- both sides of each GAN


def insertion(options: argparse.Namespace, device: torch.device) -> tuple[Step, Step]:
    """The cGAN on whole slices, without a perceptual loss."""
    parts = plain_parts()
    config = cgan.Config(
        width=options.width,
        depth=5,
        discriminator_width=options.width,
        discriminator_layers=3,
        crop=0,
        batch_size=options.batch,
        perceptual_weight=0.0,
        precision=options.precision,
    )
    image, organs = ImageConfig(size=options.size), {"brain": ("flair",)}
    trainer = cgan.Trainer(config, image=image, organs=organs, device=device, seed=1)
    with torch.no_grad():
        # The plain side has no code of organ and contrasts; a code without weight leaves the results alike.
        for name, parameter in trainer.generator.named_parameters():
            if "by_code" in name:
                parameter.zero_()
    (batch,) = trainer.batches(parts.phantoms(options.size, "flair"), 1, seed=1)
    plain = moved(parts.PlainInsertion(config, trainer.generator, trainer.discriminator, batch), device)
    batch, trainer = on_device(batch, device), prepared(trainer, options)
    return lambda: trainer.train([batch]), plain.step


def translation(options: argparse.Namespace, device: torch.device) -> tuple[Step, Step]:
    """CycleGAN on whole slices: 9 residual blocks from 256 pixels on, 6 below, as in the paper."""
    parts = plain_parts()
    config = cyclegan.Config(
        exchange="gradients",
        width=options.width,
        blocks=9 if options.size >= 256 else 6,
        discriminator_width=options.width,
        discriminator_layers=3,
        batch_size=options.batch,
        # The plain side's pool gives back what it is given.
        pool=0,
        ema=0.0,
        precision=options.precision,
    )
    image, organs = ImageConfig(size=options.size), {"brain": ("t1", "t2")}
    trainer = cyclegan.Trainer(config, image=image, organs=organs, device=device, seed=1)
    sides = [next(trainer.batches(parts.phantoms(options.size, name), 1, seed=1)) for name in ("t1", "t2")]
    plain = moved(parts.PlainTranslation(config, list(trainer.trained.values()), *sides), device)
    first, second = (on_device(side, device) for side in sides)
    trainer = prepared(trainer, options)
    return lambda: trainer.pooled_step(first, second), plain.step


def sampling(options: argparse.Namespace, device: torch.device) -> tuple[Step, Step]:
    """The WGAN-GP with the paper's five steps of the critic."""
    config = wgan_gp.Config(
        width=options.width,
        critic_width=options.width,
        batch_size=options.batch,
        n_critic=5,
        ema=0.0,
        precision=options.precision,
    )
    image, organs = ImageConfig(size=options.size), {"brain": ("flair",)}
    trainer = wgan_gp.Trainer(config, image=image, organs=organs, device=device, seed=1)
    (batch,) = trainer.batches(plain_parts().phantoms(options.size, "flair"), 1, seed=1)
    batch = on_device(batch, device)
    plain = PlainSampling(config, trainer.generator, trainer.critic, batch)
    trainer = prepared(trainer, options)
    return lambda: trainer.train([batch]), plain.step


class PlainSampling:
    """The step of Gulrajani et al. 2017, algorithm 1; images in [-1, 1]."""

    def __init__(self, config: wgan_gp.Config, generator: nn.Module, critic: nn.Module, batch: Any) -> None:
        self.config, self.batch = config, batch
        self.generator, self.critic = copy.deepcopy(generator), copy.deepcopy(critic)
        betas = (config.betas[0], config.betas[1])
        self.of_generator = torch.optim.Adam(self.generator.parameters(), lr=config.learning_rate, betas=betas)
        self.of_critic = torch.optim.Adam(self.critic.parameters(), lr=config.critic_learning_rate, betas=betas)

    def step(self) -> Losses:
        critic = [self._critic_step(examples) for examples in self.batch.critic]
        self.critic.requires_grad_(False)
        self.of_generator.zero_grad()
        made, code = self._make(self.batch.noise, self.batch.grain, self.batch.tumour)
        loss = -self.critic(made, code).mean()
        loss.backward()
        self.of_generator.step()
        return {"critic": sum(critic) / len(critic), "adversarial": loss.item()}

    def _critic_step(self, examples: Any) -> float:
        c = self.config
        self.critic.requires_grad_(True)
        self.of_critic.zero_grad()
        real = examples.images * 2 - 1
        with torch.no_grad():
            made, code = self._make(examples.noise, examples.grain, examples.tumour)
        of_real = self.critic(real, code)
        distance = self.critic(made, code).mean() - of_real.mean()
        share = examples.mixing.view(-1, 1, 1, 1)
        mixed = (share * real + (1 - share) * made).requires_grad_(True)
        score = self.critic(mixed, code).flatten(1).mean(1).sum()
        (gradient,) = torch.autograd.grad(score, mixed, create_graph=True)
        penalty = ((gradient.flatten(1).square().sum(1) + 1e-12).sqrt() - 1).square().mean()
        drift = of_real.mean((1, 2, 3)).square().mean()
        (distance + c.gradient_penalty * penalty + c.drift * drift).backward()
        self.of_critic.step()
        return float(distance.detach())

    def _make(self, noise: Tensor, grain: Tensor, tumour: Tensor) -> tuple[Tensor, Tensor]:
        condition = self.batch.condition.expand(len(tumour), -1)
        code = torch.cat([torch.stack([tumour, ~tumour], dim=1).float(), condition], dim=1)
        return torch.tanh(self.generator(noise, grain, code)), code


if __name__ == "__main__":
    main()
