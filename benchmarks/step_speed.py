"""How long does a training step take? A plain step, written as the papers describe it, over ours: cGAN and CycleGAN.

Both sides have the same networks with the same first weights, the same losses and batch; that their losses agree is
checked before a clock runs. The plain side is eager float32 PyTorch: real and generated images judged one after the
other, images doubled before they are convolved, Adam as it comes. Our networks work in bfloat16 and our losses in
float32 (``precision: bf16``); with ``--precision fp32`` the gain of that is left out. Steps are those of Isola
et al. 2017 (least-squares adversarial loss and L1, in the region alone) and of Zhu et al. 2017 (adversarial, cycle and
identity loss, image pools). One core, interleaved pairs, and which side goes first alternates. Other work on the
machine moves the clock more than the processor's seconds, so both are told. The last lines are the ratios.

    python benchmarks/step_speed.py [cgan-128 cgan-256 cyclegan-128 cyclegan-256] [--pairs 7] [--width 64] [--batch 1]
        [--precision bf16]
"""

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.imaging.slices import PatientSlices, Slices
from common.study.conditions import condition_maps, one_hot_labels
from common.study.experiment import ImageConfig
from common.synthesis.examples import InsertionBatch
from common.training import cgan, cyclegan
from common.training.unpaired import SideBatch

Step = Callable[[], dict[str, float]]
CPU = torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("cases", nargs="*", default=["cgan-128", "cgan-256", "cyclegan-128", "cyclegan-256"])
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--width", type=int, default=64, help="channels at full resolution; the papers' is 64")
    parser.add_argument("--batch", type=int, default=1, help="slices a step of each domain; a cGAN's step takes two")
    parser.add_argument("--precision", default="bf16", help="of our side: fp32 or bf16")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(machine(), flush=True)
    lines = []
    for case in options.cases:
        family, size = case.split("-")
        build = {"cgan": insertion, "cyclegan": translation}[family]
        what = f"{case}, width {options.width}, {options.precision}"
        lines += compare(what, *build(int(size), options.width, options.batch, options.precision), options.pairs)
    print("\n".join(lines))


def machine() -> str:
    """The processor, and which of its instructions matter here."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    facts = dict(reversed([part.strip() for part in line.split(":", 1)]) for line in ())
    for line in text.splitlines():
        name, _, value = line.partition(":")
        facts.setdefault(name.strip(), value.strip())
    known = ("avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16", "amx_tile")
    have = [name for name in known if name in facts.get("flags", "").split()]
    return f"{facts.get('model name', 'unknown processor')}: {' '.join(have) or 'none'} of {' '.join(known)}; one core"


def compare(name: str, ours: Step, plain: Step, pairs: int) -> list[str]:
    """The lines that say how often the time of ``ours`` goes into that of ``plain``."""
    sides = {"oncofed": ours, "plain": plain}
    first = {side: step() for side, step in sides.items()}  # neither side pays for first use
    tolerance = 5e-2 if "bf16" in name else 2e-3
    for loss, value in first["plain"].items():
        difference = abs(first["oncofed"][loss] - value)
        assert difference <= tolerance * max(abs(value), 0.1), f"{name}: {loss} differs by {difference} from {value}"
    ratios = []
    for pair in range(pairs):
        seconds = {}
        for side in sorted(sides, reverse=bool(pair % 2)):
            before = time.process_time(), time.perf_counter()
            sides[side]()
            seconds[side] = time.process_time() - before[0], time.perf_counter() - before[1]
        ratios.append([theirs / own for theirs, own in zip(seconds["plain"], seconds["oncofed"], strict=True)])
        print(f"{name}, pair {pair + 1} of {pairs}: ", end="")
        print(", ".join(f"{side} {cpu:.2f} s ({wall:.2f} by the clock)" for side, (cpu, wall) in seconds.items()))
    lines = []
    for what, column in zip(("processor", "clock"), zip(*ratios, strict=True), strict=True):
        medians = np.median(np.random.default_rng(0).choice(column, (10_000, pairs)), axis=1)
        low, high = np.percentile(medians, (2.5, 97.5))
        lines.append(
            f"{name}: plain / oncofed by the {what}, median of {pairs} pairs (95% bootstrap interval): "
            f"{np.median(column):.2f} ({low:.2f} to {high:.2f})"
        )
    return lines


def insertion(size: int, width: int, batch_size: int, precision: str) -> tuple[Step, Step]:
    """The cGAN on whole slices, without a perceptual loss."""
    depth = 5
    config = cgan.Config(
        width=width,
        depth=depth,
        discriminator_width=width,
        discriminator_layers=3,
        crop=0,
        batch_size=2 * batch_size,
        perceptual_weight=0.0,
        precision=precision,
    )
    slices = phantoms(size, "flair")
    image, organs = ImageConfig(size=size), {"brain": ("flair",)}
    trainer = cgan.Trainer(config, image=image, organs=organs, device=CPU, seed=1)
    with torch.no_grad():
        # The plain side has no code of organ and contrasts; a code without weight leaves the results alike.
        for name, parameter in trainer.generator.named_parameters():
            if "by_code" in name:
                parameter.zero_()
    (batch,) = trainer.batches(slices, 1, seed=1)
    plain = PlainInsertion(config, trainer.generator, trainer.discriminator, batch)
    return lambda: trainer.train([batch]), plain.step


def translation(size: int, width: int, batch_size: int, precision: str) -> tuple[Step, Step]:
    """CycleGAN on whole slices: 9 residual blocks from 256 pixels on, 6 below, as in the paper."""
    config = cyclegan.Config(
        exchange="gradients",
        width=width,
        blocks=9 if size >= 256 else 6,
        downsamplings=2,
        discriminator_width=width,
        discriminator_layers=3,
        batch_size=batch_size,
        cycle_weight=10.0,
        identity_weight=5.0,
        identity_decay_steps=300,
        learning_rate=2e-4,
        discriminator_learning_rate=2e-4,
        ema=0.0,
        precision=precision,
    )
    image, organs = ImageConfig(size=size), {"brain": ("t1", "t2")}
    trainer = cyclegan.Trainer(config, image=image, organs=organs, device=CPU, seed=1)
    first, second = (next(trainer.batches(phantoms(size, name), 1, seed=1)) for name in ("t1", "t2"))
    plain = PlainTranslation(config, list(trainer.trained.values()), first, second)
    return lambda: trainer.pooled_step(first, second), plain.step


def phantoms(size: int, contrast: str) -> Slices:
    """Discs with a brighter disc in three slices of five."""
    random = np.random.default_rng(len(contrast))
    rows, columns = np.mgrid[:size, :size] / size - 0.5
    inside, lesion = np.hypot(rows, columns) < 0.42, np.hypot(rows - 0.1, columns) < 0.08
    patients = []
    for index in range(4):
        labels = np.zeros((5, size, size), np.uint8)
        labels[1:4, lesion] = 1
        images = (0.4 + 0.1 * random.standard_normal((5, 1, size, size)) + 0.3 * (labels[:, None] > 0)) * inside
        foreground = np.repeat(inside[None], 5, 0).astype(np.uint8)
        patients.append(PatientSlices(f"p{index}", images.clip(0, 1).astype(np.float16), labels, foreground))
    return Slices("brain", (contrast,), patients, 12)


# ---------------------------------------------------------------------- plain networks


def same_weights(plain: nn.Module, ours: nn.Module) -> nn.Module:
    """``plain`` with the weights of ``ours``, which has the same layers in the same order."""
    given = [parameter for name, parameter in ours.named_parameters() if "by_code" not in name]
    own = list(plain.parameters())
    assert [one.shape for one in own] == [one.shape for one in given]
    with torch.no_grad():
        for one, other in zip(own, given, strict=True):
            one.copy_(other)
    return plain


def layer(convolution: nn.Conv2d, activation: nn.Module | None, *before: nn.Module) -> nn.Sequential:
    """What comes before, a convolution, InstanceNorm, and what comes after."""
    norm = nn.InstanceNorm2d(convolution.out_channels, affine=True)
    return nn.Sequential(*before, convolution, norm, activation or nn.Identity())


class PlainUNet(nn.Module):
    """An encoder and a decoder with skip connections (Isola et al. 2017) in the layers of ``common.networks.unet``."""

    def __init__(self, inward: int, width: int, depth: int) -> None:
        super().__init__()
        c = [width * min(2**level, 8) for level in range(depth + 1)]
        leaky = nn.LeakyReLU(0.2)
        self.entry = nn.Sequential(nn.Conv2d(inward, width, 3, padding=1), leaky)
        self.down = nn.ModuleList(layer(nn.Conv2d(c[i], c[i + 1], 4, 2, 1), leaky) for i in range(depth))
        self.bottleneck = layer(nn.Conv2d(c[-1], c[-1], 3, padding=1), leaky)
        self.up = nn.ModuleList(
            layer(nn.Conv2d(c[i + 1] + c[i], c[i], 3, padding=1), leaky) for i in reversed(range(depth))
        )
        self.exit = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.entry(x)
        skips = []
        for down in self.down:
            skips.append(x)
            x = down(x)
        x = self.bottleneck(x)
        for up in self.up:
            x = up(torch.cat([F.interpolate(x, scale_factor=2.0), skips.pop()], 1))
        return torch.tanh(self.exit(x))


class PlainBlock(nn.Module):
    """A residual block (Johnson et al. 2016)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(reflected(width, width, 3, nn.ReLU()), reflected(width, width, 3, None))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.body(x)
        return result


def reflected(before: int, after: int, kernel: int, activation: nn.Module | None, stride: int = 1) -> nn.Sequential:
    """A layer with reflected borders."""
    convolution = nn.Conv2d(before, after, kernel, stride, bias=False)
    return layer(convolution, activation, nn.ReflectionPad2d(kernel // 2))


def plain_resnet(width: int, blocks: int) -> nn.Sequential:
    """The generator of Zhu et al. 2017 in the layers of ``common.networks.resnet_generator``."""
    return nn.Sequential(
        reflected(1, width, 7, nn.ReLU()),
        reflected(width, 2 * width, 3, nn.ReLU(), 2),
        reflected(2 * width, 4 * width, 3, nn.ReLU(), 2),
        *(PlainBlock(4 * width) for _ in range(blocks)),
        nn.Upsample(scale_factor=2),
        reflected(4 * width, 2 * width, 3, nn.ReLU()),
        nn.Upsample(scale_factor=2),
        reflected(2 * width, width, 3, nn.ReLU()),
        nn.ReflectionPad2d(3),
        nn.Conv2d(width, 1, 7),
        nn.Tanh(),
    )


def plain_discriminator(inward: int, width: int) -> nn.Sequential:
    """The 70 x 70 PatchGAN."""
    leaky = nn.LeakyReLU(0.2)
    return nn.Sequential(
        nn.Conv2d(inward, width, 4, 2, 1),
        leaky,
        layer(nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False), leaky),
        layer(nn.Conv2d(2 * width, 4 * width, 4, 2, 1, bias=False), leaky),
        layer(nn.Conv2d(4 * width, 8 * width, 4, 1, 1, bias=False), leaky),
        nn.Conv2d(8 * width, 1, 4, 1, 1),
    )


def adam(networks: Sequence[nn.Module], rate: float) -> torch.optim.Adam:
    return torch.optim.Adam([p for network in networks for p in network.parameters()], lr=rate, betas=(0.5, 0.999))


# ---------------------------------------------------------------------- plain steps


class PlainInsertion:
    """The step of pix2pix; images in [-1, 1]."""

    def __init__(self, config: cgan.Config, generator: nn.Module, discriminator: nn.Module, batch: InsertionBatch):
        self.l1_weight = config.l1_weight / 2  # of images in [0, 1] on our side
        self.real = batch.images * 2 - 1
        self.region = batch.region.unsqueeze(1).float()
        labels = one_hot_labels(batch.labels)
        self.condition = torch.cat([labels, self.region, condition_maps(batch.condition, self.region)], 1)
        # A blanked pixel is a 0 of [0, 1].
        blanked = torch.where(batch.region.unsqueeze(1), -1.0, self.real)
        self.given = torch.cat([blanked, self.condition, config.noise * batch.noise * self.region], 1)
        self.generator = same_weights(PlainUNet(self.given.shape[1], config.width, config.depth), generator)
        inward = 1 + self.condition.shape[1]
        self.discriminator = same_weights(plain_discriminator(inward, config.discriminator_width), discriminator)
        self.optimisers = (
            adam([self.generator], config.learning_rate),
            adam([self.discriminator], config.discriminator_learning_rate),
        )

    def step(self) -> dict[str, float]:
        of_generator, of_discriminator = self.optimisers
        fake = torch.where(self.region > 0, self.generator(self.given), self.real)
        self.discriminator.requires_grad_(True)
        of_discriminator.zero_grad()
        on_fake = self.mean(self.discriminator(torch.cat([fake.detach(), self.condition], 1)).square())
        on_real = self.mean((self.discriminator(torch.cat([self.real, self.condition], 1)) - 1).square())
        judging = 0.5 * (on_fake + on_real)
        judging.backward()
        of_discriminator.step()

        self.discriminator.requires_grad_(False)
        of_generator.zero_grad()
        fooling = self.mean((self.discriminator(torch.cat([fake, self.condition], 1)) - 1).square())
        l1 = self.mean((fake - self.real).abs())
        (fooling + self.l1_weight * l1).backward()
        of_generator.step()
        return {"discriminator": judging.item(), "adversarial": fooling.item(), "l1": l1.item() / 2}

    def mean(self, values: Tensor) -> Tensor:
        """Over the region."""
        weight = F.adaptive_avg_pool2d(self.region, (values.shape[-2], values.shape[-1]))
        return (values * weight).sum() / weight.sum()


class PlainTranslation:
    """The step of CycleGAN; images in [-1, 1]."""

    def __init__(self, config: cyclegan.Config, networks: Sequence[nn.Module], first: SideBatch, second: SideBatch):
        self.config = config
        self.real = [first.images * 2 - 1, second.images * 2 - 1]
        self.generators = [same_weights(plain_resnet(config.width, config.blocks), ours) for ours in networks[:2]]
        self.discriminators = [
            same_weights(plain_discriminator(1, config.discriminator_width), ours) for ours in networks[2:]
        ]
        self.optimisers = (
            adam(self.generators, config.learning_rate),
            adam(self.discriminators, config.discriminator_learning_rate),
        )

    def step(self) -> dict[str, float]:
        c, (of_generators, of_discriminators) = self.config, self.optimisers
        (to_b, to_a), (judge_a, judge_b), (a, b) = self.generators, self.discriminators, self.real
        for judge in self.discriminators:
            judge.requires_grad_(False)
        of_generators.zero_grad()
        fake_b, fake_a = to_b(a), to_a(b)
        fooling = (judge_b(fake_b) - 1).square().mean() + (judge_a(fake_a) - 1).square().mean()
        cycle = (to_a(fake_b) - a).abs().mean() + (to_b(fake_a) - b).abs().mean()
        identity = (to_a(a) - a).abs().mean() + (to_b(b) - b).abs().mean()
        # Half the weight: a difference in [-1, 1] is twice that in [0, 1] on our side.
        (fooling + c.cycle_weight / 2 * cycle + c.identity_weight / 2 * identity).backward()
        of_generators.step()

        for judge in self.discriminators:
            judge.requires_grad_(True)
        of_discriminators.zero_grad()
        judging = []
        # The pools hold fewer than 50 images throughout, and so give back what they are given.
        for judge, real, fake in ((judge_a, a, fake_a), (judge_b, b, fake_b)):
            loss = 0.5 * ((judge(real) - 1).square().mean() + judge(fake.detach()).square().mean())
            loss.backward()
            judging.append(loss.item())
        of_discriminators.step()
        return {
            "adversarial": fooling.item() / 2,
            "cycle": cycle.item() / 4,
            "identity": identity.item() / 4,
            "discriminator": sum(judging) / 2,
        }


if __name__ == "__main__":
    main()
