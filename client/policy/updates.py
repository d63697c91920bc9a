"""How much has to stand behind an update, and whether the hospital lets so little leave.

Weights after a training less the weights before are its gradients, whatever the exchange is called; over one slice they
can be turned back into nearly that slice. The hospital says in ``site.yaml`` on how many patients and slices an update
has to rest. This is no guarantee, as privacy with patients as its unit is one: it closes what needs no skill.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from client.data.site_data import SiteData
from client.policy.behind import Behind
from client.privacy.slices import kept_here
from client.site import SiteSettings
from common.errors import RefusalError
from common.imaging.slices import Slices
from common.protocol.actions import Action
from common.study.experiment import FederationConfig
from common.study.trials import trials_of
from common.training.build import labelling_model, model_exchange, steps_per_round
from common.training.trainer import Exchange

TOO_FEW = "fewer patients or slices would stand behind its update than its hospital asks for"
"""Said without a number: which of the two it is, and by how many, would be an answer about patients."""


UNLIKELY = 1e-3
"""Chance of drawing too few in a round with which a site still takes part."""


@contextmanager
def large_enough(data: SiteData, behind: Behind, action: str, model: str, *, updates: bool) -> Iterator[None]:
    """Refuses an update that too little stands behind: before anything is trained where that is known by then, and
    afterwards by what was drawn.

    Args:
        behind: counts what the training draws.
        action: Flower's message type, e.g. ``train.gan``.
        model: the GAN that it is about.
        updates: whether the answer holds weights that were trained here.

    Raises:
        RefusalError: with a text that may leave.
    """
    if updates:
        require_update(data, model if action == Action.TRAIN_GAN else "")
    yield
    if updates:
        require_enough(data.study.settings, behind)


def require_updates(data: SiteData, model: str) -> None:
    """The same of a whole study, its rounds with bad luck and its trials on fewer patients included: a refusal in the
    middle could end it for all.

    Args:
        model: a GAN of the study; empty for the classifier.

    Raises:
        RefusalError: with a text that may leave.
    """
    slices = kept_here(data, model)
    draws, patients = _drawn(data, model, slices), len(np.unique(slices.owner))
    settings = data.study.settings
    if (
        chance_of_fewer(settings.min_update_patients, patients, draws) > UNLIKELY
        or chance_of_fewer(settings.min_update_slices, len(slices), draws) > UNLIKELY
    ):
        raise RefusalError(TOO_FEW)
    if model and model != labelling_model(data.study.experiment):
        return
    trials = [trial for trial in trials_of(data.study.experiment) if trial.trains_generator]
    if any(len(data.within(trial).split.train) < settings.min_update_patients for trial in trials):
        raise RefusalError(TOO_FEW)


def require_update(data: SiteData, model: str) -> None:
    """Refuses a training that could not draw enough however it draws.

    Args:
        model: a GAN of the study; empty for the classifier.

    Raises:
        RefusalError: with a text that may leave.
    """
    slices = kept_here(data, model)
    draws = min(_drawn(data, model, slices), len(slices))
    if not _enough(data.study.settings, min(draws, len(np.unique(slices.owner))), draws):
        raise RefusalError(TOO_FEW)


def require_enough(settings: SiteSettings, behind: Behind) -> None:
    """Refuses what was trained, if too little was drawn for it, or if nobody looked.

    Slices that are nobody's, made from noise alone, do not count; alone they are no patient's.

    Raises:
        RefusalError: with a text that may leave.
    """
    drew = len(behind.patients), len(behind.slices)
    if not behind.watched or (any(drew) and not _enough(settings, *drew)):
        raise RefusalError(TOO_FEW)


def chance_of_fewer(least: int, of: int, draws: int) -> float:
    """A bound on the chance that ``draws``, each of any of ``of`` alike, hit fewer than ``least``: the sum, over
    each set of one too few, of the chance that all draws are from it.

    >>> chance_of_fewer(1, 4, 1), chance_of_fewer(5, 4, 100)
    (0.0, 1.0)
    >>> round(chance_of_fewer(2, 2, 3), 6)  # one of the two is never drawn: 2 * (1/2)^3
    0.25
    """
    if of < least or draws < least:
        return 1.0
    if least == 1:
        return 0.0
    sets = math.lgamma(of + 1) - math.lgamma(least) - math.lgamma(of - least + 2)
    return math.exp(min(0.0, sets + draws * math.log((least - 1) / of)))


def _enough(settings: SiteSettings, patients: int, slices: int) -> bool:
    return patients >= settings.min_update_patients and slices >= settings.min_update_slices


def _drawn(data: SiteData, model: str, slices: Slices) -> int:
    """Slices that one answer of a training draws: those of one batch where every step is an answer."""
    if not model:
        classifier = data.study.experiment.classifier
        return _of_a_round(classifier.federation, slices, classifier.batch_size)
    chosen = data.study.model(model)
    batch_size: int = chosen.config.batch_size
    if model_exchange(chosen) is Exchange.GRADIENTS:
        return batch_size
    return _of_a_round(chosen.federation, slices, batch_size)


def _of_a_round(federation: FederationConfig, slices: Slices, batch_size: int) -> int:
    return steps_per_round(federation, len(slices), batch_size) * batch_size
