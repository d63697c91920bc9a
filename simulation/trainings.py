"""Every private training of a study, as its sites would do it: looked at before a run, and audited after it."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from client.privacy.checks import require_private
from client.privacy.plan import private_steps
from client.privacy.training import steps_by_mechanism
from common.errors import ConfigError, PrivacyError
from common.study.conditions import condition_code
from common.study.config import contrasts_by_organ
from common.study.experiment import Experiment
from common.study.models import model_of
from common.study.phases import classifier_phase, gan_phase
from common.study.trials import arms_in_federation
from common.training.build import build_classifier_trainer, build_gan_trainer, site_view
from common.training.patients import PatientUpdate

CPU = torch.device("cpu")


def require_private_study(experiment: Experiment) -> None:
    """Refuses a study that asks for privacy with a network or a loss that cannot give it.

    Raises:
        ConfigError: naming it.
    """
    if experiment.privacy.mode == "none":
        return
    try:
        for _ in trained_updates(experiment, 1):
            pass
    except PrivacyError as error:
        raise ConfigError(f"privacy=patient_dp: {error}") from error


def trained_updates(experiment: Experiment, patients: int) -> Iterator[tuple[str, PatientUpdate[Any], int]]:
    """Each private training of the study: mechanism, its update, and the steps that are planned.

    Raises:
        PrivacyError: if one of them cannot be private.
    """
    for name in experiment.models:
        model = model_of(experiment, name)
        views = [
            view
            for organ, contrasts in contrasts_by_organ(experiment).items()
            if (view := site_view(experiment, model, organ, _held(experiment, organ, contrasts))) is not None
        ]
        if not views:
            continue
        trainer = require_private(build_gan_trainer(experiment, name, device=CPU, weights=experiment.weights))
        condition = condition_code(views[0].organ, views[0].contrasts)
        count = model.federation.rounds * private_steps(experiment, model.federation, patients)
        totals = steps_by_mechanism(trainer, count, condition)
        for update in {one.optimiser: one for one in trainer.patient_updates(condition)}.values():
            yield f"{gan_phase(name, 1)}/{update.optimiser}", update, totals[update.optimiser]
    federation = experiment.classifier.federation
    count = federation.rounds * private_steps(experiment, federation, patients)
    classifier = require_private(
        build_classifier_trainer(experiment, device=CPU, weights=experiment.weights, total_steps=max(1, count))
    )
    organ, contrasts = next(iter(contrasts_by_organ(experiment).items()))
    (update,) = classifier.patient_updates(condition_code(organ, contrasts))
    for arm in arms_in_federation(experiment):
        yield f"{classifier_phase(arm)}/{update.optimiser}", update, count


def _held(experiment: Experiment, organ: str, contrasts: Sequence[str]) -> list[str]:
    """All contrasts that some site of the study holds of an organ."""
    held = set(contrasts)
    for site in experiment.site.values():
        if site.organ == organ:
            held |= set(site.contrasts or [])
    return sorted(held)
