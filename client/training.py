"""One round of local training: weights in, an update out, private state kept here."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from client.arms import training_sets
from client.proxies import taken_proxies
from client.session import Session
from client.state import RoundState
from common.imaging.slices import Slices
from common.records import Instruction
from common.seeding import derive_seed
from common.training.build import build_classifier_trainer, build_gan_trainer, steps_per_round
from common.training.prefetch import batches_ahead, prefetched
from common.training.steps import proximal_step
from common.training.trainer import Exchange, GradientTrainer, ProxyTrainer, Trainer


@dataclass(frozen=True)
class Update:
    """What a round of local training sends back."""

    arrays: dict[str, Tensor]
    losses: dict[str, float]


def train_gan(session: Session, instruction: Instruction, arrays: dict[str, Tensor]) -> Update:
    """Trains one GAN of the study on this site's training patients for one round."""
    experiment, name = session.experiment, instruction.model
    slices = session.training_for(name)
    kept = session.trainers.pop((name, instruction.repeat), None)
    session.trainers.clear()
    trainer = kept or build_gan_trainer(
        experiment,
        name,
        device=session.device,
        weights=session.weights,
        run=instruction.repeat,
        compiled=session.settings.compile,
    )
    if trainer.exchange is Exchange.GRADIENTS:
        return _one_exchange(session, instruction, trainer, arrays, slices)
    if trainer.exchange is Exchange.PROXIES:
        assert isinstance(trainer, ProxyTrainer)
        trainer.give_proxies(taken_proxies(session, name))
    steps = steps_per_round(session.model(name).federation, len(slices), trainer.config.batch_size)
    batches = trainer.batches(slices, steps, _seed(session, instruction))
    return _one_round(session, instruction, trainer, arrays, batches, steps)


def train_classifier(session: Session, instruction: Instruction, arrays: dict[str, Tensor]) -> Update:
    """Trains the federated classifier of ``instruction.arm`` for one round."""
    experiment = session.experiment
    federation = experiment.classifier.federation
    steps = steps_per_round(federation, len(session.training), experiment.classifier.batch_size)
    trainer = build_classifier_trainer(
        experiment, device=session.device, weights=session.weights, total_steps=steps * federation.rounds
    )
    batches = trainer.batches(training_sets(session, instruction.arm), steps, _seed(session, instruction))
    return _one_round(session, instruction, trainer, arrays, batches, steps)


def _one_round(
    session: Session,
    instruction: Instruction,
    trainer: Trainer[Any],
    arrays: dict[str, Tensor],
    batches: Iterable[Any],
    steps: int,
) -> Update:
    started = time.monotonic()
    state = RoundState(session.folder, instruction.run, instruction.phase)
    trainer.load_shared_arrays(arrays)
    trainer.load_private_state(state.before(instruction.server_round))
    if instruction.proximal_mu:
        trainer.step = proximal_step(instruction.proximal_mu, trainer.networks)
    losses = trainer.train(
        prefetched(batches, batches_ahead(session.settings.prefetch, session.device), session.device)
    )
    state.save(instruction.server_round, trainer.private_state())
    seconds = time.monotonic() - started
    session.record_training(instruction.phase, instruction.server_round, losses, steps, seconds)
    return Update(trainer.shared_arrays(), losses)


def _one_exchange(
    session: Session, instruction: Instruction, trainer: Trainer[Any], arrays: dict[str, Tensor], slices: Slices
) -> Update:
    """This site's part of one step that the coordinator takes; the curves get a point each round of steps."""
    started = time.monotonic()
    assert isinstance(trainer, GradientTrainer)
    state = RoundState(session.folder, instruction.run, instruction.phase)
    trainer.load_shared_arrays(arrays)
    trainer.load_private_state(state.before(instruction.server_round))
    federation = session.model(instruction.model).federation
    exchanges = federation.local_steps
    # Every exchange but the first loads the state of the one before, so that a trainer that stays built starts right.
    # After the last one it goes: sites that share a GPU, one after another, shall not each keep networks on it.
    if instruction.server_round < federation.rounds * exchanges:
        session.trainers[instruction.model, instruction.repeat] = trainer
    batches = trainer.batches(slices, trainer.batches_per_exchange, _seed(session, instruction))
    contribution, losses = trainer.contribute(batches)
    state.save(instruction.server_round, trainer.private_state())
    if instruction.server_round % exchanges == 0:
        server_round = instruction.server_round // exchanges
        session.record_training(instruction.phase, server_round, losses, exchanges, time.monotonic() - started)
    return Update(contribution, losses)


def _seed(session: Session, instruction: Instruction) -> int:
    """A round's own seed: a repeated round draws the same, another round or site something else."""
    return derive_seed(session.experiment.seed, session.settings.name, instruction.phase, instruction.server_round)
