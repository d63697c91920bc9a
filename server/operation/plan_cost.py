"""What a study takes beforehand: bytes of each round, seconds where an earlier study tells them, privacy."""

import math
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from common.errors import ConfigError
from common.imaging.names import CONTRASTS
from common.study.conditions import condition_code
from common.study.config import read_experiment
from common.study.experiment import Experiment
from common.study.models import Model, model_of
from common.study.phases import Phase, PhaseKind, classifier_phase
from common.study.trials import arms_in_federation
from common.training.build import build_classifier_trainer, build_gan_trainer, site_view, steps_per_round
from common.training.patients import PatientTrainer
from common.training.trainer import Exchange, Trainer
from server.operation.progress_state import progress_state
from server.progress_log import ProgressReader


@dataclass(frozen=True)
class Traffic:
    """What a training sends, each way, at each site.

    Attributes:
        training: the model, or ``classifier``.
        exchanges: how often weights or gradients go to a site and back.
        size: bytes of one of them.
    """

    training: str
    exchanges: int
    size: int


def traffic(experiment: Experiment, phases: Sequence[tuple[str, int]]) -> list[Traffic]:
    """By training; what is asked besides (images, scores, models that are tried elsewhere) is less.

    Args:
        phases: of the study, and their rounds.
    """
    found, named = [], [(Phase.parse(phase), count) for phase, count in phases]
    for name in experiment.models:
        model, trainer = model_of(experiment, name), _unweighted(experiment, name)
        rounds = sum(count for phase, count in named if (phase.kind, phase.name) == (PhaseKind.GAN, name))
        steps = model.federation.local_steps if trainer.exchange is Exchange.GRADIENTS else 1
        found.append(Traffic(name, rounds * max(1, steps), _shared_bytes(trainer)))
    rounds = sum(count for phase, count in named if phase.kind == PhaseKind.CLASSIFIER)
    plain = deepcopy(experiment)
    plain.classifier.pretrained = False
    with torch.device("meta"):
        classifier = build_classifier_trainer(plain, device=torch.device("meta"), weights=plain.weights, total_steps=1)
    return [*found, Traffic("classifier", rounds, _shared_bytes(classifier))]


def seconds(experiment: Experiment, phases: Sequence[tuple[str, int]], earlier: Sequence[Path]) -> float | None:
    """How long the rounds of ``phases`` take, by the newest study with the same models, sizes and steps; None: unknown.

    Args:
        earlier: folders of studies, the newest last.
    """
    for folder in reversed(earlier):
        try:
            like = _amount(read_experiment(folder / "config.yaml")) == _amount(experiment)
        except ConfigError:
            continue
        mean = progress_state(ProgressReader(folder).new()).schedule.seconds_a_round() if like else None
        if mean is not None:
            return mean * sum(rounds for _, rounds in phases)
    return None


@dataclass(frozen=True)
class PrivacyCost:
    """What a private study takes of a site's budget.

    Attributes:
        patients: the number it is counted with.
        rate: probability that a patient takes part in a step.
        steps: of all trainings together.
        sigma: noise of each, in units of the clipping bound; None if no noise is enough.
        delta: of the guarantee.
    """

    patients: int
    rate: float
    steps: int
    sigma: float | None
    delta: float


def privacy_cost(experiment: Experiment, organ: str, patients: int) -> PrivacyCost:
    """At a site with this organ that declares so many patients; the site itself plans with what is left of its budget.

    Figures on test patients with noise (``privacy.scores``) are paid for besides.
    """
    from opacus.accountants.utils import get_noise_multiplier

    privacy, steps = experiment.privacy, 0
    for name in experiment.models:
        model, trainer = model_of(experiment, name), _unweighted(experiment, name)
        view = site_view(experiment, model, organ, CONTRASTS)
        if view is None or not isinstance(trainer, PatientTrainer):
            continue
        updates = len(trainer.patient_updates(condition_code(view.organ, view.contrasts)))
        steps += model.runs * updates * _private_steps(experiment, model.federation, patients)
    steps += len(arms_in_federation(experiment)) * _private_steps(
        experiment, experiment.classifier.federation, patients
    )
    rate, delta = min(1.0, privacy.expected_batch_size / patients), min(1e-5, 1 / (10 * patients))
    sigma: float | None = None
    with warnings.catch_warnings(), suppress(ValueError):
        warnings.simplefilter("ignore")
        sigma = get_noise_multiplier(
            target_epsilon=privacy.epsilon * (1 - privacy.reserve), target_delta=delta, sample_rate=rate, steps=steps
        )
    return PrivacyCost(patients, rate, steps, sigma, delta)


def size(count: float) -> str:
    """Bytes as a person reads them.

    >>> size(900), size(4_500_000), size(2.5e9)
    ('1 kB', '4.5 MB', '2.5 GB')
    """
    for unit, step in (("GB", 1e9), ("MB", 1e6)):
        if count >= step:
            return f"{count / step:.2g} {unit}" if count < 10 * step else f"{count / step:.0f} {unit}"
    return f"{max(1, math.ceil(count / 1e3))} kB"


def _unweighted(experiment: Experiment, name: str) -> Trainer[Any]:
    """The networks of a model without memory, and without pre-trained networks that only a loss looks at."""
    plain = deepcopy(experiment)
    if hasattr(model_of(experiment, name).config, "perceptual_weight"):
        plain.models[name] = {**plain.models[name], "perceptual_weight": 0.0}
    device = torch.device("meta")
    with device:
        return build_gan_trainer(plain, name, device=device, weights=plain.weights)


def _shared_bytes(trainer: Trainer[Any]) -> int:
    networks = trainer.shared_networks().values()
    tensors = [tensor for network in networks for tensor in network.state_dict().values()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors if tensor.is_floating_point())


def _private_steps(experiment: Experiment, federation: Any, patients: int) -> int:
    """Steps of a whole training, as a site counts them."""
    each = steps_per_round(federation, patients, experiment.privacy.expected_batch_size)
    return int(federation.rounds * max(1, round(experiment.privacy.dp_step_fraction * each)))


def _amount(experiment: Experiment) -> Mapping[str, Any]:
    """What decides how long a round takes."""
    models: list[Model] = [model_of(experiment, name) for name in experiment.models]
    return {
        "image": asdict(experiment.image),
        "models": {one.name: (one.family, asdict(one.config), one.federation.local_steps) for one in models},
        "classifier": (experiment.classifier.network, experiment.classifier.federation.local_steps),
        "arms": [classifier_phase(arm) for arm in experiment.study.arms],
        "privacy": experiment.privacy.mode,
    }
