"""The generator of all sites becomes this site's own: a few more steps with its slices before it makes images."""

import time
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from client.data.site_data import SiteData
from client.data.work import WorkFolder
from client.training.finite import require_finite
from common.errors import RefusalError
from common.seeding import Label
from common.training.build import build_gan_trainer
from common.training.kinds import GeneratorTrainer


def tuned(
    data: SiteData, work: WorkFolder, model: str, arrays: Mapping[str, Tensor], phase: str
) -> GeneratorTrainer[Any]:
    """The study's GAN ``model`` with the weights ``arrays``, tuned on this site's training patients where it asks for
    that; with privacy it stays as it came, because every look at a patient has its price.

    It never leaves the site, and is made again, the same, if the site was interrupted.

    Args:
        phase: under which its losses are told in the site's report.

    Raises:
        RefusalError: if that model makes no slices of its own, or came to values that are not finite.
    """
    study, trial = data.study, data.study.trial
    trainer = build_gan_trainer(study.experiment, model, device=study.device, weights=study.weights, run=trial.run)
    if not isinstance(trainer, GeneratorTrainer):
        raise RefusalError(f"{model} makes no slices that an arm could train on")
    trainer.load_shared_arrays(arrays)
    if not study.private:
        started = time.monotonic()
        name = trial.phase(f"{phase}/{model}")
        losses = trainer.tune(data.training_for(model), study.seed(Label.TUNING, trial.name))
        if losses:
            require_finite(f"models.{model}", trainer.shared_arrays(), losses)
            work.record_training(name, 0, losses, trainer.steps_done, time.monotonic() - started)
    return trainer
