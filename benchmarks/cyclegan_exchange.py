"""How well does CycleGAN translate when no site holds both domains? A toy whose true translation is known.

Two sites: the first holds images of domain a, the second of domain b, of different heads. b is a known function of a
(other grey values for each tissue, and a shading from left to right), which only the test pairs reveal. Every way of
training takes the same number of generator steps from the same weights and is scored by PSNR against the true
translation, in both directions. Two scores need no training: "unchanged input" does nothing, and "mean image" answers
every image with the mean of the target's training images.

The proxies are fresh heads of the other domain, blurred and noisy: as flawed as those of a small generator, and none of
them belongs to the other site. A run is one training with one seed; the table gives mean and spread over the seeds.
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from common.imaging.slices import PatientSlices, Slices
from common.seeding import derive_seed, torch_generator
from common.study.experiment import ImageConfig
from common.training.cyclegan import Config, DomainConfig, Trainer
from common.training.trainer import Contributor

SIZE = 32
TRAINING, TEST, PROXIES = 200, 64, 200
LOCAL_STEPS = 50  # a round, for what averages weights
CONTRASTS = ("t1", "t2")

CONFIG = Config(
    exchange="gradients",
    domains=[DomainConfig("brain", [contrast]) for contrast in CONTRASTS],
    width=8,
    blocks=2,
    downsamplings=1,
    discriminator_width=16,
    discriminator_layers=1,
    flip=0.0,
    batch_size=4,
    learning_rate=1e-3,
    discriminator_learning_rate=1e-3,
    cycle_weight=10.0,
    identity_weight=0.0,
    pool=0,
    ema=0.99,
)


def heads(count: int, generator: torch.Generator) -> Tensor:
    """(N, S, S) int64: 0 outside, 1 skull, 2 brain, 3 ventricle, 4 lesion."""
    rows, columns = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")

    def between(low: float, high: float) -> Tensor:
        return (low + (high - low) * torch.rand(count, generator=generator)).view(-1, 1, 1)

    def ellipse(row: Tensor, column: Tensor, height: Tensor, width: Tensor) -> Tensor:
        return ((rows - row) / height) ** 2 + ((columns - column) / width) ** 2

    middle = between(14, 17), between(14, 17)
    distance = ellipse(*middle, between(11, 14), between(9, 13))
    ventricle = ellipse(middle[0] + between(-2, 2), middle[1] + between(-2, 2), between(2, 5), between(1.5, 3.5)) < 1
    radius = between(1.5, 3)
    lesion = ellipse(middle[0] + between(-6, 6), middle[1] + between(-6, 6), radius, radius) < 1
    inside = distance < 0.7
    tissue = torch.where(distance < 1, 1, 0)
    tissue = torch.where(inside, 2, tissue)
    tissue = torch.where(inside & ventricle, 3, tissue)
    return torch.where(inside & lesion, 4, tissue)


def render(tissue: Tensor, domain: int, generator: torch.Generator) -> Tensor:
    """(N, 1, S, S) in [0, 1]: the heads as domain 0 or 1 shows them, with noise on what is not background."""
    grey = torch.tensor([[0.0, 0.2, 0.6, 0.3, 0.95], [0.0, 0.95, 0.4, 0.2, 0.65]])[domain]
    image = grey[tissue].unsqueeze(1)
    if domain == 1:
        image = image * torch.linspace(0.8, 1.2, SIZE)
    smooth = 0.5 * image + 0.5 * F.avg_pool2d(F.pad(image, (1, 1, 1, 1), mode="replicate"), 3, 1)
    noise = 0.015 * torch.randn(image.shape, generator=generator)
    return (smooth + noise * (smooth > 0)).clamp(0, 1)


def proxies(domain: int) -> Tensor:
    """(N, 1, S, S): heads that nobody has, in the look of ``domain``, blurred and noisy."""
    generator = torch_generator("proxies", domain)
    image = render(heads(PROXIES, generator), domain, generator)
    blurred = F.avg_pool2d(F.pad(image, (1, 1, 1, 1), mode="replicate"), 3, 1)
    return (blurred + 0.04 * torch.randn(image.shape, generator=generator)).clamp(0, 1)


def site(domain: int) -> Slices:
    """The training slices of the one site that holds ``domain``."""
    generator = torch_generator("site", domain)
    images = render(heads(TRAINING, generator), domain, generator).numpy().astype(np.float16)
    nothing = np.zeros((TRAINING, SIZE, SIZE), np.uint8)
    return Slices("brain", (CONTRASTS[domain],), [PatientSlices("p", images, nothing, nothing + 1)])


def paired_heads() -> tuple[Tensor, Tensor]:
    """The same heads in both domains."""
    generator = torch_generator("test")
    tissue = heads(TEST, generator)
    return render(tissue, 0, generator), render(tissue, 1, generator)


def psnr(image: Tensor, truth: Tensor) -> float:
    """Mean over the images of the peak signal-to-noise ratio in dB, for a peak of 1."""
    return float((-10 * (image - truth).square().mean(dim=(1, 2, 3)).log10()).mean())


def scores(trainer: Trainer) -> tuple[float, float]:
    """PSNR of the translation into domain 1, and of that into domain 0."""
    a, b = paired_heads()
    return psnr(trainer.translate(a, 0), b), psnr(trainer.translate(b, 1), a)


def unchanged() -> tuple[float, float]:
    """The same of doing nothing."""
    a, b = paired_heads()
    return psnr(a, b), psnr(b, a)


def mean_image() -> tuple[float, float]:
    """The same of the mean of the target's training images as the answer to every image."""
    a, b = paired_heads()
    means = [site(domain).all().images.mean(0, keepdim=True) for domain in (0, 1)]
    return psnr(means[1].expand_as(b), b), psnr(means[0].expand_as(a), a)


def build(seed: int, **changes: object) -> Trainer:
    config = copy.deepcopy(replace(CONFIG, **changes))  # type: ignore[arg-type]
    organs = {"brain": ("t1",)}
    return Trainer(config, image=ImageConfig(size=SIZE), organs=organs, device=torch.device("cpu"), seed=seed)


def centralised(steps: int, seed: int) -> Trainer:
    """Both domains in one place."""
    trainer = build(seed)
    each = [trainer.batches(site(domain), steps, derive_seed(seed, domain)) for domain in (0, 1)]
    for first, second in zip(*each, strict=True):
        trainer.pooled_step(first, second)
    return trainer


def by_gradients(steps: int, seed: int, generator_steps: int) -> Trainer:
    """An exchange of gradients every ``generator_steps`` steps."""
    coordinator, *sites = (build(seed, generator_steps=generator_steps) for _ in range(3))
    data = [site(domain) for domain in (0, 1)]
    known = {str(domain): Contributor(coordinator.domains[domain], TRAINING) for domain in (0, 1)}
    batches = [one.batches(data[domain], steps, derive_seed(seed, domain)) for domain, one in enumerate(sites)]
    for _ in range(steps // generator_steps):
        sent = coordinator.shared_arrays()
        given = {}
        for domain, one in enumerate(sites):
            one.load_shared_arrays(sent)
            given[str(domain)] = one.contribute([next(batches[domain]) for _ in range(generator_steps)])[0]
        coordinator.absorb(given, known)
    return coordinator


def by_averaging(steps: int, seed: int, exchange: str) -> Trainer:
    """Rounds of local steps, after which all weights are averaged; with ``proxies`` or plainly (``average``)."""
    coordinator, *sites = (build(seed, exchange=exchange) for _ in range(3))
    data = [site(domain) for domain in (0, 1)]
    known = {str(domain): Contributor(coordinator.domains[domain], TRAINING) for domain in (0, 1)}
    for domain, one in enumerate(sites):
        if exchange == "proxies":
            one.give_proxies(proxies(1 - domain))
    for number in range(steps // LOCAL_STEPS):
        sent = coordinator.shared_arrays()
        given = {}
        for domain, one in enumerate(sites):
            one.load_shared_arrays(sent)
            one.train(one.batches(data[domain], LOCAL_STEPS, derive_seed(seed, number, domain)))
            given[str(domain)] = one.shared_arrays()
        coordinator.load_shared_arrays(dict(_averages(coordinator, given, known)))
    return coordinator


def _averages(
    coordinator: Trainer, given: dict[str, dict[str, Tensor]], known: dict[str, Contributor]
) -> Iterator[tuple[str, Tensor]]:
    for key in given["0"]:
        weights = coordinator.averaging_weights(key.partition(".")[0], known)
        yield key, sum(arrays[key] * weights[one] for one, arrays in given.items()) / sum(weights.values())


METHODS: dict[str, Callable[[int, int], Trainer]] = {
    "average": lambda steps, seed: by_averaging(steps, seed, "average"),
    "gradients, K=1": lambda steps, seed: by_gradients(steps, seed, 1),
    "gradients, K=5": lambda steps, seed: by_gradients(steps, seed, 5),
    "proxies": lambda steps, seed: by_averaging(steps, seed, "proxies"),
    "centralised": centralised,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--only", help="one method")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{chosen.steps} generator steps, {chosen.seeds} seeds; PSNR in dB, mean ± standard deviation over seeds")
    print(f"{'':16} {'a to b':>14} {'b to a':>14} {'seconds a run':>14}")
    means = {}
    for name, untrained in (("unchanged input", unchanged()), ("mean image", mean_image())):
        print(f"{name:16}" + "".join(f" {value:7.2f}       " for value in untrained))
        means[name] = statistics.mean(untrained)
    for name, method in METHODS.items():
        if chosen.only and name != chosen.only:
            continue
        started = time.perf_counter()
        runs = [scores(method(chosen.steps, seed)) for seed in range(1, chosen.seeds + 1)]
        seconds = (time.perf_counter() - started) / chosen.seeds
        columns = list(zip(*runs, strict=True))
        cells = "".join(f" {statistics.mean(c):7.2f} ± {statistics.pstdev(c):4.2f}" for c in columns)
        print(f"{name:16}{cells} {seconds:14.0f}", flush=True)
        means[name] = statistics.mean(statistics.mean(c) for c in columns)
    for name, value in means.items():
        if name != "centralised" and "centralised" in means:
            differences = [value - means[other] for other in ("centralised", "mean image", "unchanged input")]
            print(
                "{}: {:+.2f} dB to centralised, {:+.2f} to the mean image, {:+.2f} to unchanged".format(
                    name, *differences
                )
            )


if __name__ == "__main__":
    main()
