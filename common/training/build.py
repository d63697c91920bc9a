"""From a study's configuration to a trainer: sites train it, the coordinator scores it, all build it alike."""

import math

import torch

from common.config import channels, model_config
from common.experiment import Experiment, FederationConfig, WeightsConfig
from common.training import classifier
from common.training.trainer import GeneratorTrainer, OptimiserStep, plain_step, trainer_module


def build_generator_trainer(
    experiment: Experiment, *, device: torch.device, weights: WeightsConfig, step: OptimiserStep = plain_step
) -> GeneratorTrainer[object]:
    """The trainer of ``experiment.model``, initialised from the study's seed, so that every party starts alike."""
    trainer: GeneratorTrainer[object] = trainer_module(str(experiment.model["name"])).Trainer(
        model_config(experiment),
        image=experiment.image,
        channels=channels(experiment),
        device=device,
        step=step,
        weights=weights,
        seed=experiment.seed,
    )
    trainer.generators_only = experiment.federation.share == "generator"
    return trainer


def build_classifier_trainer(
    experiment: Experiment,
    *,
    device: torch.device,
    weights: WeightsConfig,
    total_steps: int,
    step: OptimiserStep = plain_step,
) -> classifier.Trainer:
    """The trainer of ``experiment.classifier``, initialised from the study's seed; ``total_steps`` is its schedule."""
    return classifier.Trainer(
        experiment.classifier,
        image=experiment.image,
        channels=channels(experiment),
        device=device,
        step=step,
        weights=weights,
        seed=experiment.seed,
        total_steps=total_steps,
    )


def steps_per_round(federation: FederationConfig, slices: int, batch_size: int) -> int:
    """Optimiser steps a round: as configured, or one pass over ``slices`` where ``local_steps`` is 0.

    >>> steps_per_round(FederationConfig(local_steps=0), slices=100, batch_size=8)
    13
    """
    return federation.local_steps or max(1, math.ceil(slices / batch_size))
