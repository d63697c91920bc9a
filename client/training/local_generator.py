"""A generator that this site trains alone, beside the federated one: what does a hospital gain from the others?

It starts from the same weights and takes as many steps, so that the other sites' patients are all that differs. It
never leaves the site.
"""

import time
from typing import Any

from client.data.site_data import SiteData
from client.data.work import WorkFolder
from client.privacy.slices import kept_here
from client.training.finite import require_finite
from client.training.state import RoundState
from common.errors import RefusalError
from common.study.phases import gan_phase
from common.training.build import build_gan_trainer, steps_per_round
from common.training.kinds import GeneratorTrainer
from common.training.trainer import Exchange

ALONE = "alone"
SHARED = "shared."
"""Before the names of the weights that a federated training would send."""


def train_alone(data: SiteData, work: WorkFolder, model: str) -> GeneratorTrainer[Any]:
    """The study's GAN ``model``, trained on this site's training patients only; goes on after its last finished round.

    Raises:
        RefusalError: if that model makes no slices, does not train by averaging weights, or came to values that are
            not finite.
    """
    study, trial = data.study, data.study.trial
    trainer = build_gan_trainer(
        study.experiment,
        model,
        device=study.device,
        weights=study.weights,
        run=trial.run,
        compiled=study.settings.compile,
    )
    if not isinstance(trainer, GeneratorTrainer) or trainer.exchange is not Exchange.AVERAGE:
        raise RefusalError(f"{model} cannot be trained at one site alone")
    phase = f"{gan_phase(model, trial.run, trial.generator_name)}/{ALONE}"
    federation = study.model(model).federation
    state = RoundState(work.run_state, phase)
    slices = kept_here(data, model)
    steps = steps_per_round(federation, len(slices), trainer.config.batch_size)
    done = state.newest()
    if done:
        kept = state.after(done)
        shared = {key.removeprefix(SHARED): value for key, value in kept.items() if key.startswith(SHARED)}
        trainer.load_shared_arrays(shared)
        trainer.load_private_state({key: value for key, value in kept.items() if not key.startswith(SHARED)})
    for number in range(done + 1, federation.rounds + 1):
        started = time.monotonic()
        seed = study.seed(phase, number)
        losses = trainer.train(trainer.batches(slices, steps, seed))
        shared = {f"{SHARED}{key}": value for key, value in trainer.shared_arrays().items()}
        kept = {**shared, **trainer.private_state()}
        require_finite(f"models.{model}", kept, losses)
        state.save(number, kept, since=number - 1)
        work.record_training(phase, number, losses, steps, time.monotonic() - started)
    return trainer
