"""From a study's configuration to a trainer: sites train it, the coordinator scores it, all build it alike."""

import math
from collections.abc import Sequence
from typing import Any

import torch

from common.errors import ConfigError
from common.imaging.slices import Slices
from common.seeding import Label, derive_seed
from common.study.config import channels, contrasts_by_organ
from common.study.experiment import Experiment, FederationConfig, WeightsConfig
from common.study.models import Model, model_of
from common.training import classifier
from common.training.families import trainer_module
from common.training.kinds import GeneratorTrainer, ProxySource, ProxyTrainer, SamplingTrainer
from common.training.trainer import Exchange, Needs, OptimiserStep, Trainer, View, plain_step


def build_gan_trainer(
    experiment: Experiment,
    name: str,
    *,
    device: torch.device,
    weights: WeightsConfig,
    run: int = 1,
    step: OptimiserStep = plain_step,
    compiled: bool = False,
) -> Trainer[Any]:
    """The trainer of ``experiment.models[name]``, initialised from a seed that every party derives alike.

    Args:
        run: which of the model's runs; each starts from other weights.
        compiled: whether its networks are compiled before they train, see :func:`compile_networks`.
    """
    model = model_of(experiment, name)
    trainer: Trainer[Any] = trainer_module(model.family).Trainer(
        model.config,
        image=experiment.image,
        organs=contrasts_by_organ(experiment),
        device=device,
        step=step,
        weights=weights,
        seed=run_seed(experiment.seed, run),
    )
    trainer.generators_only = model.federation.share == "generator"
    if compiled:
        compile_networks(trainer)
    return trainer


def compile_networks(trainer: Trainer[Any], *, to_train: bool = True, backend: str = "inductor") -> None:
    """``torch.compile`` for the networks of ``trainer``, in place: names and values of their weights stay.

    To train: every batch of a training has one shape, so that a network meets few (a discriminator sees real and
    generated images together, then apart), and each is compiled as it is. Left alone are averages, which do not train,
    and whatever is no generator where there is a gradient penalty: a compiled network is not differentiated twice.

    To make images: the generators and their averages, for whatever number of images comes.
    """
    twice = getattr(trainer.config, "gradient_penalty", 0) > 0
    for name, network in trainer.networks.items():
        generates = name.startswith("generator")
        if generates if not to_train else not name.endswith("_ema") and (generates or not twice):
            network.compile(backend=backend, dynamic=not to_train)


def run_seed(seed: int, run: int) -> int:
    """The seed of a model's ``run``-th training; the first one's is the study's own."""
    return seed if run == 1 else derive_seed(seed, Label.RUN, run)


def site_view(experiment: Experiment, model: Model, organ: str, held: Sequence[str]) -> View | None:
    """What a site with this organ and these contrasts shows a GAN of the study; None: nothing."""
    view: View | None = trainer_module(model.family).Trainer.view(
        model.config, contrasts_by_organ(experiment), organ, held
    )
    return view


def model_needs(experiment: Experiment, name: str) -> Needs:
    """What ``experiment.models[name]`` must know of the slices that it learns from."""
    needs: Needs = trainer_module(model_of(experiment, name).family).Trainer.needs
    return needs


def model_exchange(model: Model) -> Exchange:
    """How sites train ``model`` together: what its configuration chooses, or its family does."""
    return Exchange(getattr(model.config, "exchange", trainer_module(model.family).Trainer.exchange))


def labelling_models(experiment: Experiment) -> list[str]:
    """The GANs that make labelled slices, the one first whose images the arms are trained on: ``study.generator``, or
    the first of them.

    Raises:
        ConfigError: if ``study.generator`` names one that does not.
    """
    able = [
        name
        for name in experiment.models
        if issubclass(trainer_module(model_of(experiment, name).family).Trainer, GeneratorTrainer)
    ]
    chosen = experiment.study.generator
    if chosen and chosen not in able:
        raise ConfigError(f"study.generator={chosen}: it makes no slices of its own, so no arm can train on them")
    return sorted(able, key=lambda name: name != chosen) if chosen else able


def labelling_model(experiment: Experiment) -> str | None:
    """The first of :func:`labelling_models`; None if there is none."""
    return next(iter(labelling_models(experiment)), None)


def proxy_source(experiment: Experiment, name: str) -> ProxySource | None:
    """Whose images stand in for real ones where ``experiment.models[name]`` trains; None where it needs none.

    Raises:
        ConfigError: unless that is a GAN which the study trains before this one, and which samples whole slices.
    """
    model = model_of(experiment, name)
    family = trainer_module(model.family).Trainer
    source: ProxySource | None = family.proxy_source(model.config) if issubclass(family, ProxyTrainer) else None
    if source is None:
        return None
    key, listed = f"models.{name}.proxy_model={source.model}", list(experiment.models)
    if source.model not in listed:
        raise ConfigError(
            f"{key}: the study has no GAN of that name to release slices with; write model=[{source.model},"
            f"{','.join(listed)}], name another one, or choose another models.{name}.exchange"
        )
    if listed.index(source.model) >= listed.index(name):
        order = [source.model, *(one for one in listed if one != source.model)]
        raise ConfigError(
            f"{key}: {name} trains on its slices, so it must be trained before; write model=[{','.join(order)}]"
        )
    if not issubclass(trainer_module(model_of(experiment, source.model).family).Trainer, SamplingTrainer):
        raise ConfigError(f"{key}: it does not make whole slices from noise; name one that does, such as wgan_gp")
    return source


def build_classifier_trainer(
    experiment: Experiment,
    *,
    device: torch.device,
    weights: WeightsConfig,
    total_steps: int,
    run: int = 1,
    step: OptimiserStep = plain_step,
    tumour_share: float = 0.5,
) -> classifier.Trainer:
    """The trainer of ``experiment.classifier``, initialised from the seed of the study's ``run``.

    Args:
        total_steps: its schedule.
        tumour_share: of the slices that it is to judge, see :func:`tumour_share`; only training looks at it.
    """
    return classifier.Trainer(
        experiment.classifier,
        image=experiment.image,
        channels=channels(experiment),
        device=device,
        step=step,
        weights=weights,
        seed=run_seed(experiment.seed, run),
        total_steps=total_steps,
        tumour_share=tumour_share if experiment.classifier.logit_adjustment else 0.5,
    )


def tumour_share(training: Sequence[Slices]) -> float:
    """Share of tumours among real training slices, as a classifier is told it; never quite 0 or 1 (Laplace's rule)."""
    tumours = sum(int(slices.tumour_class().sum()) for slices in training)
    return (tumours + 1) / (sum(len(slices) for slices in training) + 2)


def steps_per_round(federation: FederationConfig, slices: int, batch_size: int) -> int:
    """Optimiser steps a round: as configured, or one pass over ``slices`` where ``local_steps`` is 0.

    >>> steps_per_round(FederationConfig(local_steps=0), slices=100, batch_size=8)
    13
    """
    return federation.local_steps or max(1, math.ceil(slices / batch_size))
