"""Which training switches help? Each GAN with one switch changed at a time, several seeds, on the demo's brains.

The baseline of each GAN has every switch off. A line of the table is the same training with one switch on (or set
another way), from the same first weights and on the same batches, seed by seed: the figure is the mean difference of
the score to the baseline's, with its standard deviation over the seeds. Scores, on the reference set's selection part:

    cgan      SSIM and PSNR of the lesion's box, made again from the label map
    wgan_gp   the normalised Fréchet distance of whole slices (0 is as near as real slices of other patients, 1 as far
              as blurred ones); lower is better
    cyclegan  PSNR of the foreground after translation, against the real other contrast, mean of both directions

A switch "helps" (or "hurts") if the difference goes the same way for every seed, exceeds two standard errors of its
mean, and is as large as the least difference that matters (0.1 dB, or 0.03 of the normalised distance). Everything else
is "no difference". Steps a second are of the whole training loop, on one thread.

Further words are overrides, e.g. ``simulation.cache_dir=/scratch cohort.train=30``.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common.features.extractor import feature_extractor
from common.imaging.prepare import prepare_cohort
from common.imaging.readers.registry import build_reader
from common.imaging.slices import SliceBatch, Slices
from common.imaging.spread import spread_over_patients
from common.metrics.similarity import box_mask, psnr, ssim
from common.seeding import derive_seed
from common.study.config import compose, contrasts_by_organ
from common.study.experiment import EvaluationConfig, Experiment
from common.study.experiment_paths import with_absolute_paths
from common.study.models import model_of
from common.training.families import trainer_module
from common.training.trainer import Trainer
from server.evaluation.nearest import NearestEvaluation
from server.terminal_progress import terminal_progress
from simulation.places import locate

ORGAN = "brain"
SCORED = 96
Scores = dict[str, float]


@dataclass(frozen=True)
class Data:
    """Training slices by contrast (one data set of all hospitals), and the slices that are scored."""

    experiment: Experiment
    training: dict[str, Slices]
    scored: Slices

    @staticmethod
    def load(overrides: Sequence[str], size: int) -> "Data":
        """From the demo cohort, made where it is missing."""
        experiment = with_absolute_paths(compose(["preset=demo", "site=brain", f"image.size={size}", *overrides]))
        places = locate(experiment, terminal_progress())

        def slices(folder: Path, contrasts: Sequence[str]) -> Slices:
            organ = experiment.organs[ORGAN]
            cohort = prepare_cohort(
                build_reader("brats", organ=ORGAN, contrasts=list(contrasts), options={}),
                folder,
                cache_dir=Path(experiment.simulation.cache_dir),
                organ=ORGAN,
                contrasts=list(contrasts),
                image=experiment.image,
                preprocessing=organ.steps,
                min_tumour_pixels=organ.min_tumour_pixels,
            )
            return cohort.slices([one.patient for one in cohort.patients])

        hospitals = [places.sites[name] for name in ("hospital1", "hospital2", "hospital3")]
        flair = [slices(folder, ["flair"]) for folder in hospitals]
        training = {
            "flair": replace(flair[0], patients=[one for each in flair for one in each.patients]),
            "t1": slices(hospitals[0], ["t1"]),
            "t2": slices(hospitals[1], ["t2"]),
        }
        scored = slices(places.reference[ORGAN] / "selection", ["flair", "t1", "t2"])
        return Data(experiment, training, scored)

    def trainer(self, family: str, seed: int, changes: dict[str, object]) -> Trainer[Any]:
        """A GAN of the demo's size with these changes."""
        config = replace(model_of(self.experiment, family).config, **changes)
        return trainer_module(family).Trainer(  # type: ignore[no-any-return]
            config,
            image=self.experiment.image,
            organs=contrasts_by_organ(self.experiment),
            device=torch.device("cpu"),
            seed=seed,
        )

    def scored_batch(self, contrast: str, positions: Sequence[int]) -> SliceBatch:
        """Slices of the reference set in one contrast, spread over the patients."""
        slices = self.scored.in_contrasts([contrast])
        return slices.batch(spread_over_patients(np.asarray(positions), slices.owner, SCORED))


def lesions(data: Data) -> Callable[[Trainer[Any]], Scores]:
    """The cGAN's score."""
    batch = data.scored_batch("flair", data.scored.tumour_positions().tolist())
    condition = data.scored.in_contrasts(["flair"]).condition()

    def score(trainer: Any) -> Scores:
        made = trainer.reconstruct(batch, condition, 1)
        box = box_mask(made.region)
        return {
            "SSIM": float(ssim(made.images, made.targets, box).mean()),
            "PSNR": float(psnr(made.images, made.targets, box).mean()),
        }

    return score


def distances(data: Data) -> Callable[[Trainer[Any]], Scores]:
    """The WGAN-GP's score."""
    evaluation = NearestEvaluation(
        data.scored.in_contrasts(["flair"]),
        EvaluationConfig(frechet_images=SCORED),
        extractor=feature_extractor("efficientnet_lite0", data.experiment.weights),
    )
    return lambda trainer: {"normalised FD": evaluation.score(trainer, 1).to_scores()["frechet_normalised"].value}


def translations(data: Data) -> Callable[[Trainer[Any]], Scores]:
    """CycleGAN's score."""
    a, b = (data.scored_batch(contrast, range(len(data.scored))) for contrast in ("t1", "t2"))

    def score(trainer: Any) -> Scores:
        made: list[Tensor] = [trainer.translate(a.images, 0), trainer.translate(b.images, 1)]
        values = [psnr(made[0], b.images, b.foreground), psnr(made[1], a.images, a.foreground)]
        return {"PSNR": float(torch.stack(values).nanmean())}

    return score


def train_alone(trainer: Any, data: Data, steps: int, seed: int) -> None:
    trainer.train(trainer.batches(data.training["flair"], steps, seed))


def train_both_domains(trainer: Any, data: Data, steps: int, seed: int) -> None:
    sides = [trainer.batches(data.training[contrast], steps, derive_seed(seed, contrast)) for contrast in ("t1", "t2")]
    for first, second in zip(*sides, strict=True):
        trainer.pooled_step(first, second)


@dataclass(frozen=True)
class Ablation:
    """One GAN: what its baseline is and what is changed.

    Attributes:
        size: pixels of a slice.
        steps: of the generator.
        baseline: changes to the demo's configuration that switch everything off and make the networks small.
        switches: name -> changes to the baseline; ``decay_steps`` -1 stands for the number of steps.
        least: the least difference of the last score that matters; negative where lower is better.
    """

    size: int
    steps: int
    baseline: dict[str, object]
    switches: dict[str, dict[str, object]]
    least: float
    scores: Callable[[Data], Callable[[Trainer[Any]], Scores]]
    train: Callable[[Any, Data, int, int], None] = field(default=train_alone)


OFF: dict[str, object] = {"decay_steps": 0, "ema": 0.0, "diffaugment": "", "precision": "fp32"}
GREYS, PLACES = "brightness,contrast", "translation"

ABLATIONS = {
    "cgan": Ablation(
        size=64,
        steps=200,
        baseline={**OFF, "spectral_norm": False, "adversarial": "lsgan"},
        switches={
            "bf16": {"precision": "bf16"},
            "ema": {"ema": 0.99},
            "decay": {"decay_steps": -1},
            "diffaugment, grey values": {"diffaugment": GREYS},
            "diffaugment, translation": {"diffaugment": PLACES},
            "spectral norm": {"spectral_norm": True},
            "hinge": {"adversarial": "hinge"},
            "vanilla": {"adversarial": "vanilla"},
        },
        least=0.1,
        scores=lesions,
    ),
    "wgan_gp": Ablation(
        size=32,
        steps=300,
        baseline={**OFF, "width": 16, "critic_width": 16},
        switches={
            "bf16": {"precision": "bf16"},
            "ema": {"ema": 0.99},
            "decay": {"decay_steps": -1},
            "diffaugment, grey values": {"diffaugment": GREYS},
            "diffaugment, translation": {"diffaugment": PLACES},
            "rmsprop": {"optimiser": "rmsprop"},
        },
        least=-0.03,
        scores=distances,
    ),
    "cyclegan": Ablation(
        size=32,
        steps=250,
        baseline={
            **OFF,
            "width": 8,
            "blocks": 2,
            "downsamplings": 1,
            "discriminator_width": 8,
            "batch_size": 2,
            "learning_rate": 1e-3,
            "discriminator_learning_rate": 1e-3,
            "spectral_norm": False,
            "identity_weight": 0.0,
            "identity_decay_steps": 0,
            "pool": 0,
        },
        switches={
            "bf16": {"precision": "bf16"},
            "ema": {"ema": 0.99},
            "decay": {"decay_steps": -1},
            "identity": {"identity_weight": 5.0},
            "identity that decays": {"identity_weight": 5.0, "identity_decay_steps": -1},
            "pool": {"pool": 50},
            "diffaugment, grey values": {"diffaugment": GREYS},
            "diffaugment, translation": {"diffaugment": PLACES},
            "spectral norm": {"spectral_norm": True},
        },
        least=0.1,
        scores=translations,
        train=train_both_domains,
    ),
}


def verdict(differences: Sequence[float], least: float) -> str:
    """By the rule at the top of this file; a negative ``least`` means that lower is better.

    >>> verdict([0.3, 0.4, 0.5], 0.1), verdict([0.3, 0.4, -0.1], 0.1), verdict([0.3, 0.4, 0.5], -0.1)
    ('helps', 'no difference', 'hurts')
    """
    mean = statistics.mean(differences)
    error = statistics.stdev(differences) / len(differences) ** 0.5 if len(differences) > 1 else 0.0
    same_way = min(differences) > 0 or max(differences) < 0
    if not same_way or abs(mean) < abs(least) or abs(mean) <= 2 * error:
        return "no difference"
    return "helps" if (mean > 0) == (least > 0) else "hurts"


def run_gan(name: str, seeds: int, steps: int | None, overrides: Sequence[str], only: str | None) -> list[str]:
    """Prints the GAN's table; returns what helped."""
    ablation = ABLATIONS[name]
    steps = steps or ablation.steps
    data = Data.load([f"model=[{name}]", *overrides], ablation.size)
    score = ablation.scores(data)

    def one(changes: dict[str, object], seed: int) -> tuple[Scores, float]:
        resolved = {key: steps if value == -1 else value for key, value in changes.items()}
        trainer = data.trainer(name, seed, {**ablation.baseline, **resolved})
        started = time.process_time()
        ablation.train(trainer, data, steps, seed)
        return score(trainer), steps / (time.process_time() - started)

    def runs(changes: dict[str, object]) -> tuple[dict[str, list[float]], float]:
        found = [one(changes, seed) for seed in range(1, seeds + 1)]
        scores = {key: [scores[key] for scores, _ in found] for key in found[0][0]}
        return scores, statistics.mean(speed for _, speed in found)

    base, base_speed = runs({})
    slices = ", ".join(f"{len(one)} {contrast}" for contrast, one in data.training.items())
    print(f"\n{name}: {ablation.size}x{ablation.size}, {steps} steps, {seeds} seeds; training slices: {slices}")
    start = "; ".join(f"{key} {statistics.mean(v):.3f} ± {_spread(v):.3f}" for key, v in base.items())
    print(f"baseline: {start}; {base_speed:.1f} steps/s")
    print(f"{'switch':26}" + "".join(f" {key:>18}" for key in base) + f" {'speed':>7}  verdict", flush=True)
    helpful = []
    for switch, changes in ablation.switches.items():
        if only and switch != only:
            continue
        found, speed = runs(changes)
        differences = {key: [a - b for a, b in zip_longest(values, base[key])] for key, values in found.items()}
        cells = "".join(f" {statistics.mean(d):+9.3f} ± {_spread(d):5.3f}" for d in differences.values())
        said = verdict(list(differences.values())[-1], ablation.least)
        print(f"{switch:26}{cells} {speed / base_speed:6.2f}x  {said}", flush=True)
        helpful += [switch] if said == "helps" else []
    return helpful


def _spread(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gan", choices=sorted(ABLATIONS), help="one of them; all without")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="of the generator in each training")
    parser.add_argument("--only", help="one switch")
    parser.add_argument("overrides", nargs="*", help="e.g. simulation.cache_dir=/scratch")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    names = [chosen.gan] if chosen.gan else list(ABLATIONS)
    helpful = {name: run_gan(name, chosen.seeds, chosen.steps, chosen.overrides, chosen.only) for name in names}
    print()
    for name, switches in helpful.items():
        print(f"{name}: {', '.join(switches) or 'nothing'} helps")
    switches_in_all = sum(len(ABLATIONS[name].switches) for name in names)
    print(f"switches that help: {sum(map(len, helpful.values()))} of {switches_in_all}")


if __name__ == "__main__":
    main()
