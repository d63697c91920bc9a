"""Generators and classifiers of ``augmentation.py``, trained at one site alone or by FedAvg over several."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from common.experiment import Experiment, WeightsConfig
from common.files import read_tensors, write_tensors
from common.imaging.slices import Slices
from common.seeding import derive_seed
from common.training.build import build_classifier_trainer, build_gan_trainer
from common.training.cgan import Trainer as CganTrainer
from common.training.classifier import Trainer as ClassifierTrainer
from common.training.classifier import TrainingSet
from common.training.trainer import Trainer

CPU = torch.device("cpu")
Drawn = Mapping[str, Slices]
"""Site -> the slices that it trains on."""


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


def build_generator(experiment: Experiment, number: int, organ: str | None = None) -> CganTrainer:
    """A cGAN with the first weights of training set ``number``; for a site alone if an ``organ`` is named."""
    trainer = build_gan_trainer(experiment, "cgan", device=CPU, weights=WeightsConfig(), run=number)
    assert isinstance(trainer, CganTrainer)
    return trainer


def generators(experiment: Experiment, drawn: Drawn, number: int, together: bool, folder: Path) -> dict[str, Any]:
    """Site -> its cGAN after the preset's steps; kept in ``folder``.

    Args:
        together: by FedAvg over the sites; otherwise each site alone, with as many steps.
    """
    trainers = {site: build_generator(experiment, number) for site in drawn}
    federation = experiment.federation
    kept = {site: folder / f"set{number}-{'federated' if together else site}.safetensors" for site in drawn}
    if all(path.exists() for path in kept.values()):
        for site, trainer in trainers.items():
            trainer.load_shared_arrays(read_tensors(kept[site]))
        return trainers

    def batches(site: str, part: int) -> Any:
        return trainers[site].batches(drawn[site], federation.local_steps, derive_seed(number, site, "cgan", part))

    if together:
        federated(trainers, batches, {site: len(slices) for site, slices in drawn.items()}, federation.rounds)
    else:
        for site in drawn:
            federated({site: trainers[site]}, batches, {site: 1}, federation.rounds)
    folder.mkdir(parents=True, exist_ok=True)
    for site, trainer in trainers.items():
        write_tensors(kept[site], trainer.shared_arrays())
    return trainers


def classifiers(
    experiment: Experiment,
    sources: Mapping[str, Sequence[TrainingSet]],
    number: int,
    together: bool,
    build: Callable[..., ClassifierTrainer] = build_classifier_trainer,
) -> dict[str, ClassifierTrainer]:
    """Site -> its classifier after the preset's steps; the first weights and the seeds of the batches are the set's."""
    federation = experiment.classifier.federation
    steps = federation.rounds * federation.local_steps
    seeded = replace(experiment, seed=derive_seed("augmentation", number))
    trainers = {site: build(seeded, device=CPU, weights=WeightsConfig(), total_steps=steps) for site in sources}

    def batches(site: str, part: int) -> Any:
        seed = derive_seed(number, site, "classifier", part)
        return trainers[site].batches(sources[site], federation.local_steps, seed)

    if together:
        sizes = {site: float(len(some[0].images)) for site, some in sources.items()}
        federated(trainers, batches, sizes, federation.rounds)
    else:
        for site in sources:
            seed = derive_seed(number, site, "classifier")
            trainers[site].train(trainers[site].batches(sources[site], steps, seed))
    return trainers


def probabilities(trainer: ClassifierTrainer, slices: Slices) -> Tensor:
    """(N,) of a tumour in each slice."""
    return trainer.predict(slices.all().images)
