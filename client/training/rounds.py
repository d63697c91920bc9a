"""One round of local training: weights in, an update out, private state kept here."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from client.data.session import Session
from client.privacy.budget import Budget
from client.privacy.checks import require_private, require_private_exchange
from client.privacy.made import patient_sources
from client.privacy.patients import PoissonPatients
from client.privacy.plan import private_steps, study_plan
from client.privacy.slices import for_noised_steps
from client.privacy.training import train_privately
from client.study.arms import told_share, training_sets
from client.study.leaks import require_no_leak
from client.training.finite import require_finite
from client.training.proxies import taken_proxies
from client.training.state import RoundState
from common.errors import RefusalError
from common.experiment import FederationConfig
from common.imaging.slices import Slices
from common.phases import classifier_phase, gan_phase
from common.records import Instruction
from common.seeding import derive_seed
from common.training.build import build_classifier_trainer, build_gan_trainer, steps_per_round
from common.training.classifier import Trainer as ClassifierTrainer
from common.training.kinds import GradientTrainer, ProxyTrainer
from common.training.prefetch import batches_ahead, prefetched
from common.training.steps import proximal_step
from common.training.trainer import Exchange, Trainer


@dataclass(frozen=True)
class Update:
    """What a round of local training sends back."""

    arrays: dict[str, Tensor]
    losses: dict[str, float]


def train_gan(session: Session, instruction: Instruction, arrays: dict[str, Tensor]) -> Update:
    """Trains one GAN of the study on this site's training patients for one round.

    Raises:
        RefusalError: if the hospital's rules do not allow it.
    """
    experiment, name = session.experiment, instruction.model
    before = _state_before(session, instruction)
    kept = session.trainers.pop((name, instruction.repeat), None)
    session.trainers.clear()
    # An empty state would leave a trainer as its last exchange left it, whether that counted or not.
    trainer = (kept if before else None) or build_gan_trainer(
        experiment,
        name,
        device=session.device,
        weights=session.weights,
        run=instruction.repeat,
        compiled=session.settings.compile,
    )
    if session.private:
        require_private_exchange(trainer.exchange)
    if trainer.exchange is Exchange.PROXIES:
        assert isinstance(trainer, ProxyTrainer)
        trainer.give_proxies(taken_proxies(session, name))
    federation = session.model(name).federation
    if session.private:
        sources = [for_noised_steps(session, name)]
        phase = gan_phase(name, instruction.repeat)
        return _private_round(session, instruction, phase, trainer, arrays, before, sources, federation)
    slices = session.behind.watch(session.training_for(name))
    if trainer.exchange is Exchange.GRADIENTS:
        return _one_exchange(session, instruction, trainer, arrays, before, slices)
    steps = steps_per_round(federation, len(slices), trainer.config.batch_size)
    batches = trainer.batches(slices, steps, _seed(session, instruction))
    return _one_round(session, instruction, trainer, arrays, before, batches, steps)


def train_classifier(session: Session, instruction: Instruction, arrays: dict[str, Tensor]) -> Update:
    """Trains the federated classifier of ``instruction.arm`` for one round.

    Raises:
        RefusalError: if the hospital's rules do not allow it.
    """
    require_no_leak(session)
    experiment, before = session.experiment, _state_before(session, instruction)
    federation = experiment.classifier.federation
    if session.private:
        steps = private_steps(experiment, federation, Budget(session.settings).patients)
        trainer = _classifier(session, steps * federation.rounds)
        sources = patient_sources(session, instruction.arm)
        phase = classifier_phase(instruction.arm)
        return _private_round(session, instruction, phase, trainer, arrays, before, sources, federation)
    steps = steps_per_round(federation, len(session.training), experiment.classifier.batch_size)
    trainer = _classifier(session, steps * federation.rounds)
    batches = trainer.batches(
        training_sets(session, instruction.arm, session.behind), steps, _seed(session, instruction)
    )
    return _one_round(session, instruction, trainer, arrays, before, batches, steps)


def _classifier(session: Session, total_steps: int) -> ClassifierTrainer:
    return build_classifier_trainer(
        session.experiment,
        device=session.device,
        weights=session.weights,
        total_steps=total_steps,
        run=session.trial.run,
        tumour_share=told_share(session),
    )


def _one_round(
    session: Session,
    instruction: Instruction,
    trainer: Trainer[Any],
    arrays: dict[str, Tensor],
    before: dict[str, Tensor],
    batches: Iterable[Any],
    steps: int,
) -> Update:
    started = time.monotonic()
    trainer.load_shared_arrays(arrays)
    trainer.load_private_state(before)
    if instruction.proximal_mu:
        trainer.step = proximal_step(instruction.proximal_mu, trainer.networks)
    losses = trainer.train(
        prefetched(batches, batches_ahead(session.settings.prefetch, session.device), session.device)
    )
    update = Update(trainer.shared_arrays(), losses)
    _keep_state(session, instruction, trainer, update)
    seconds = time.monotonic() - started
    session.record_training(instruction.phase, instruction.server_round, losses, steps, seconds)
    return update


def _private_round(
    session: Session,
    instruction: Instruction,
    phase: str,
    trainer: Trainer[Any],
    arrays: dict[str, Tensor],
    before: dict[str, Tensor],
    sources: list[Slices],
    federation: FederationConfig,
) -> Update:
    """The same with patients as the unit of privacy.

    A round that is repeated draws new noise, and is paid for again: from what the study keeps in reserve, and when that
    is gone, not at all.

    Args:
        phase: under which the study announced this training.
        before: the private state that it starts from.
    """
    started = time.monotonic()
    if instruction.phase != phase:
        raise RefusalError("it was asked for a training under the name of another one")
    budget = Budget(session.settings)
    plan = study_plan(session, budget)
    budget.claim(session.split.train)
    steps = private_steps(session.experiment, federation, budget.patients)
    trainer.load_shared_arrays(arrays)
    trainer.load_private_state(before)
    model = "" if instruction.arm else instruction.model
    noise = plan.noise(session.experiment.privacy, budget.patients, model)

    def charge(optimiser: str, count: int) -> None:
        mechanism = f"{instruction.phase}/{optimiser}"
        if mechanism not in plan.steps:
            raise RefusalError("it was asked for a training that the study had not announced")
        budget.charge(
            run=instruction.run,
            mechanism=mechanism,
            sigma=plan.sigma,
            q=plan.rate,
            steps=count,
            run_cap=session.experiment.privacy.epsilon,
        )

    train_privately(
        trainer,
        PoissonPatients(
            sources,
            rate=plan.rate,
            slices=noise.slices,
            make=require_private(trainer).patient_examples,
            random=session.private_random(),
        ),
        steps,
        noise,
        condition=sources[0].condition(),
        charge=charge,
        ways=session.ways.setdefault(instruction.phase, {}),
        watch=session.watch,
    )
    update = Update(trainer.shared_arrays(), {})
    _keep_state(session, instruction, trainer, update)
    seconds = time.monotonic() - started
    session.record_training(instruction.phase, instruction.server_round, {}, steps, seconds)
    return update


def _one_exchange(
    session: Session,
    instruction: Instruction,
    trainer: Trainer[Any],
    arrays: dict[str, Tensor],
    before: dict[str, Tensor],
    slices: Slices,
) -> Update:
    """This site's part of one step that the coordinator takes; the curves get a point each round of steps."""
    started = time.monotonic()
    assert isinstance(trainer, GradientTrainer)
    trainer.load_shared_arrays(arrays)
    trainer.load_private_state(before)
    federation = session.model(instruction.model).federation
    exchanges = federation.local_steps
    batches = trainer.batches(slices, trainer.batches_per_exchange, _seed(session, instruction))
    update = Update(*trainer.contribute(batches))
    _keep_state(session, instruction, trainer, update)
    # Every exchange but the first loads the state of an earlier one, so that a trainer that stays built starts right.
    # After the last one it goes: sites that share a GPU, one after another, shall not each keep networks on it.
    if instruction.server_round < federation.rounds * exchanges:
        session.trainers[instruction.model, instruction.repeat] = trainer
    if instruction.server_round % exchanges == 0:
        server_round = instruction.server_round // exchanges
        seconds = time.monotonic() - started
        session.record_training(instruction.phase, server_round, update.losses, exchanges, seconds)
    return update


def _state_before(session: Session, instruction: Instruction) -> dict[str, Tensor]:
    """The private state after the last round whose update counted: what came after it, the average knows nothing of."""
    return _state(session, instruction).after(_last_counted(instruction))


def _keep_state(session: Session, instruction: Instruction, trainer: Trainer[Any], update: Update) -> None:
    """Keeps the private state after this round.

    Raises:
        RefusalError: if a value of it, or of what would be sent, is not finite; nothing is kept then.
    """
    section, state = "classifier" if instruction.arm else f"models.{instruction.model}", trainer.private_state()
    require_finite(section, update.arrays, state, update.losses)
    _state(session, instruction).save(instruction.server_round, state, since=_last_counted(instruction))


def _last_counted(instruction: Instruction) -> int:
    return min(instruction.counted, instruction.server_round - 1)


def _state(session: Session, instruction: Instruction) -> RoundState:
    return RoundState(session.folder, instruction.run, instruction.phase)


def _seed(session: Session, instruction: Instruction) -> int:
    """A round's own seed: a repeated round draws the same, another round or site something else."""
    return derive_seed(session.experiment.seed, session.settings.name, instruction.phase, instruction.server_round)
