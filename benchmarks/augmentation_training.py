"""Generators and classifiers of ``augmentation.py``, trained at one site alone or by FedAvg over several."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from common.imaging.slices import Slices
from common.seeding import derive_seed, torch_generator
from common.study.experiment import Experiment, WeightsConfig
from common.system.array_files import read_tensors, write_tensors
from common.training.augmentation import augment_slices
from common.training.build import build_classifier_trainer, build_gan_trainer, tumour_share
from common.training.cgan import Trainer as CganTrainer
from common.training.classifier import ClassifierBatch, TrainingSet
from common.training.classifier import Trainer as ClassifierTrainer
from common.training.trainer import Contributor, Trainer, View

Drawn = Mapping[str, Slices]
"""Site -> the slices that it trains on."""


@dataclass(frozen=True)
class Setting:
    """How everything is trained.

    Attributes:
        experiment: networks, steps and rounds.
        device: where.
    """

    experiment: Experiment
    device: torch.device


def federated(
    trainers: Mapping[str, Trainer[Any]],
    batches: Callable[[str, int], Any],
    weights: Mapping[str, float],
    rounds: int,
) -> None:
    """Trains every site's trainer with rounds of weighted averaging (McMahan et al. 2017).

    Args:
        batches: of a site in a round.
        weights: how much each site counts.
    """
    total = sum(weights.values())
    for number in range(1, rounds + 1):
        for site, trainer in trainers.items():
            trainer.train(batches(site, number))
        held = {site: trainer.shared_arrays() for site, trainer in trainers.items()}
        names = next(iter(held.values()))
        average = {key: sum(weights[site] / total * held[site][key] for site in held) for key in names}
        for trainer in trainers.values():
            trainer.load_shared_arrays(average)  # type: ignore[arg-type]


def build_generator(setting: Setting, number: int) -> CganTrainer:
    """A cGAN with the first weights of training set ``number``."""
    trainer = build_gan_trainer(setting.experiment, "cgan", device=setting.device, weights=WeightsConfig(), run=number)
    assert isinstance(trainer, CganTrainer)
    return trainer


def generators(setting: Setting, drawn: Drawn, number: int, together: bool, folder: Path) -> dict[str, Any]:
    """Site -> its cGAN after the preset's steps; kept in ``folder``.

    Args:
        together: by FedAvg over the sites; otherwise each site alone, with as many steps.
    """
    trainers = {site: build_generator(setting, number) for site in drawn}
    federation = setting.experiment.federation
    kept = {site: folder / f"set{number}-{'federated' if together else site}.safetensors" for site in drawn}
    if all(path.exists() for path in kept.values()):
        for site, trainer in trainers.items():
            trainer.load_shared_arrays(read_tensors(kept[site]))
        return trainers

    def batches(site: str, part: int) -> Any:
        return trainers[site].batches(drawn[site], federation.local_steps, derive_seed(number, site, "cgan", part))

    if together:
        sites = {site: Contributor(View(slices.organ, slices.contrasts), len(slices)) for site, slices in drawn.items()}
        counts = next(iter(trainers.values())).averaging_weights("generator", sites)
        federated(trainers, batches, counts, federation.rounds)
    else:
        for site in drawn:
            federated({site: trainers[site]}, batches, {site: 1}, federation.rounds)
    folder.mkdir(parents=True, exist_ok=True)
    for site, trainer in trainers.items():
        write_tensors(kept[site], trainer.shared_arrays())
    return trainers


def tuned(setting: Setting, slices: Slices, trainer: CganTrainer, number: int, site: str) -> CganTrainer:
    """A copy of ``trainer`` after the preset's tuning at one site."""
    own = build_generator(setting, number)
    own.load_shared_arrays(trainer.shared_arrays())
    own.tune(slices, derive_seed(number, site, "cgan", "tuning"))
    return own


def classifiers(
    setting: Setting,
    stages: Mapping[str, Sequence[Sequence[TrainingSet]]],
    drawn: Drawn,
    number: int,
    together: bool,
    paired: bool = False,
) -> dict[str, ClassifierTrainer]:
    """Site -> its classifier after the preset's steps; the first weights and the seeds of the batches are the set's.

    Args:
        stages: for each site, what equal parts of its training draw from.
        drawn: its real slices, which tell how frequent tumours are.
        together: by FedAvg over the sites; otherwise each site alone.
        paired: whether a synthetic tumour comes with its negative.
    """
    experiment, federation = setting.experiment, setting.experiment.classifier.federation
    steps = federation.rounds * federation.local_steps
    seeded = replace(experiment, seed=derive_seed("augmentation", number))
    trainers = {
        site: build_classifier_trainer(
            seeded,
            device=setting.device,
            weights=WeightsConfig(),
            total_steps=steps,
            tumour_share=tumour_share([drawn[site]]),
        )
        for site in stages
    }

    def batches(site: str, part: int) -> Iterator[ClassifierBatch]:
        seed = derive_seed(number, site, "classifier", part)
        sources = stages[site][(part - 1) * len(stages[site]) // federation.rounds]
        if paired:
            return paired_batches(trainers[site], sources, federation.local_steps, seed)
        return trainers[site].batches(sources, federation.local_steps, seed)

    if together:
        sizes = {site: float(len(some[0][0].images)) for site, some in stages.items()}
        federated(trainers, batches, sizes, federation.rounds)
    else:
        for site in stages:
            federated({site: trainers[site]}, batches, {site: 1}, federation.rounds)
    return trainers


def paired_batches(
    trainer: ClassifierTrainer, sources: Sequence[TrainingSet], count: int, seed: int
) -> Iterator[ClassifierBatch]:
    """Batches whose first source is drawn from as ever, and whose second gives tumours with their own negatives."""
    real, made = sources
    tumours = made.tumour.nonzero().squeeze(1)
    negatives = (~made.tumour).nonzero().squeeze(1)
    half = trainer.config.batch_size // 2
    for index, batch in enumerate(trainer.batches([real], count, seed)):
        generator = torch_generator(seed, "pairs", index)
        # The negative of a tumour has the same rank; for an odd number the last tumour has none.
        rank = torch.randint(len(negatives), (half // 2,), generator=generator)
        pairs = augment_slices(torch.cat([made.images[negatives[rank]], made.images[tumours[rank]]]), generator)
        kept = torch.cat([torch.arange(half // 2), half + torch.arange(half // 2)])
        yield ClassifierBatch(
            torch.cat([batch.images[kept], pairs]),
            torch.cat([batch.tumour[kept], torch.arange(half) >= half // 2]),
        )


def probabilities(trainer: ClassifierTrainer, slices: Slices) -> Tensor:
    """(N,) of a tumour in each slice."""
    return trainer.predict(slices.all().images)
