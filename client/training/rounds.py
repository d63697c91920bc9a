"""One round of local training: weights in, an update out, private state kept here."""

import time
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from client.data.request import Request
from client.privacy.budget import Budget
from client.privacy.checks import require_private_exchange
from client.privacy.made import patient_sources
from client.privacy.plan import private_steps
from client.privacy.rounds import train_private_round
from client.privacy.slices import for_noised_steps
from client.study.arms import told_share, training_sets
from client.study.leaks import require_no_leak
from client.training.finite import require_finite
from client.training.prefetch import batches_ahead, prefetched
from client.training.proxies import taken_proxies
from client.training.state import RoundState
from common.imaging.slices import Slices
from common.study.phases import classifier_phase, gan_phase
from common.training.build import build_classifier_trainer, build_gan_trainer, steps_per_round
from common.training.classifier import Trainer as ClassifierTrainer
from common.training.kinds import GradientTrainer, ProxyTrainer
from common.training.steps import proximal_step
from common.training.trainer import Exchange, Trainer


@dataclass(frozen=True)
class Update:
    """What a round of local training sends back."""

    arrays: dict[str, Tensor]
    losses: dict[str, float]


def train_gan(request: Request, arrays: dict[str, Tensor]) -> Update:
    """Trains one GAN of the study on this site's training patients for one round.

    Raises:
        RefusalError: if the hospital's rules do not allow it.
    """
    study, name = request.study, request.instruction.model
    trainer = _gan(request)
    if study.private:
        require_private_exchange(trainer.exchange)
    if trainer.exchange is Exchange.PROXIES:
        assert isinstance(trainer, ProxyTrainer)
        trainer.give_proxies(taken_proxies(request.work, name))
    federation = study.model(name).federation
    if study.private:
        sources = [for_noised_steps(request.data, name)]
        started = _load(request, trainer, arrays)
        phase = gan_phase(name, request.instruction.repeat)
        steps = train_private_round(request, phase, trainer, sources, federation)
        return _finished(request, trainer, Update(trainer.shared_arrays(), {}), steps, started)
    slices = request.behind.watch(request.data.training_for(name))
    started = _load(request, trainer, arrays)
    if trainer.exchange is Exchange.GRADIENTS:
        return _exchange_gradients(request, trainer, slices, started)
    steps = steps_per_round(federation, len(slices), trainer.config.batch_size)
    return _train(request, trainer, trainer.batches(slices, steps, _seed(request)), steps, started)


def train_classifier(request: Request, arrays: dict[str, Tensor]) -> Update:
    """Trains the federated classifier of ``instruction.arm`` for one round.

    Raises:
        RefusalError: if the hospital's rules do not allow it.
    """
    data, work, arm = request.data, request.work, request.instruction.arm
    require_no_leak(data, work)
    classifier = request.study.experiment.classifier
    federation = classifier.federation
    if request.study.private:
        steps = private_steps(request.study.experiment, federation, Budget(request.study.settings).patients)
        trainer = _classifier(request, steps * federation.rounds)
        sources = patient_sources(data, work, arm)
        started = _load(request, trainer, arrays)
        steps = train_private_round(request, classifier_phase(arm), trainer, sources, federation)
        return _finished(request, trainer, Update(trainer.shared_arrays(), {}), steps, started)
    steps = steps_per_round(federation, len(data.training), classifier.batch_size)
    trainer = _classifier(request, steps * federation.rounds)
    batches = trainer.batches(training_sets(data, work, arm, request.behind), steps, _seed(request))
    started = _load(request, trainer, arrays)
    return _train(request, trainer, batches, steps, started)


def _gan(request: Request) -> Trainer[Any]:
    """The trainer of a GAN: the one that the last exchange of gradients left built, or a new one."""
    study, instruction, trainers = request.study, request.instruction, request.memory.trainers
    kept = trainers.pop(instruction.phase, None)
    trainers.clear()
    # An empty state would leave a trainer as its last exchange left it, whether that counted or not.
    if kept is not None and _state(request).has(_last_counted(request)):
        return kept
    return build_gan_trainer(
        study.experiment,
        instruction.model,
        device=study.device,
        weights=study.weights,
        run=instruction.repeat,
        compiled=study.settings.compile,
    )


def _classifier(request: Request, total_steps: int) -> ClassifierTrainer:
    study = request.study
    return build_classifier_trainer(
        study.experiment,
        device=study.device,
        weights=study.weights,
        total_steps=total_steps,
        run=study.trial.run,
        tumour_share=told_share(request.data),
    )


def _load(request: Request, trainer: Trainer[Any], arrays: dict[str, Tensor]) -> float:
    """Loads the weights that came, and the private state after the last round whose update counted: what came after
    it, the average knows nothing of. Returns when that began, in seconds."""
    started = time.monotonic()
    trainer.load_shared_arrays(arrays)
    trainer.load_private_state(_state(request).after(_last_counted(request)))
    return started


def _train(request: Request, trainer: Trainer[Any], batches: Any, steps: int, started: float) -> Update:
    study = request.study
    if request.instruction.proximal_mu:
        trainer.step = proximal_step(request.instruction.proximal_mu, trainer.networks)
    ahead = batches_ahead(study.settings.prefetch, study.device)
    losses = trainer.train(prefetched(batches, ahead, study.device))
    return _finished(request, trainer, Update(trainer.shared_arrays(), losses), steps, started)


def _exchange_gradients(request: Request, trainer: Trainer[Any], slices: Slices, started: float) -> Update:
    """This site's part of one step that the coordinator takes; the curves get a point each round of steps."""
    assert isinstance(trainer, GradientTrainer)
    instruction, federation = request.instruction, request.study.model(request.instruction.model).federation
    exchanges = federation.local_steps
    update = Update(*trainer.contribute(trainer.batches(slices, trainer.batches_per_exchange, _seed(request))))
    _keep_state(request, trainer, update)
    # Every exchange but the first loads the state of an earlier one, so that a trainer that stays built starts right.
    # After the last one it goes: sites that share a GPU, one after another, shall not each keep networks on it.
    if instruction.server_round < federation.rounds * exchanges:
        request.memory.trainers[instruction.phase] = trainer
    if instruction.server_round % exchanges == 0:
        server_round = instruction.server_round // exchanges
        seconds = time.monotonic() - started
        request.work.record_training(instruction.phase, server_round, update.losses, exchanges, seconds)
    return update


def _finished(request: Request, trainer: Trainer[Any], update: Update, steps: int, started: float) -> Update:
    """``update``, once what has to last of its round is kept."""
    _keep_state(request, trainer, update)
    instruction, seconds = request.instruction, time.monotonic() - started
    request.work.record_training(instruction.phase, instruction.server_round, update.losses, steps, seconds)
    return update


def _keep_state(request: Request, trainer: Trainer[Any], update: Update) -> None:
    """Keeps the private state after this round.

    Raises:
        RefusalError: if a value of it, or of what would be sent, is not finite; nothing is kept then.
    """
    instruction, state = request.instruction, trainer.private_state()
    section = "classifier" if instruction.arm else f"models.{instruction.model}"
    require_finite(section, update.arrays, state, update.losses)
    _state(request).save(instruction.server_round, state, since=_last_counted(request))


def _last_counted(request: Request) -> int:
    return min(request.instruction.counted, request.instruction.server_round - 1)


def _state(request: Request) -> RoundState:
    return RoundState(request.work.run_state, request.instruction.phase)


def _seed(request: Request) -> int:
    """A round's own seed: a repeated round draws the same, another round or site something else."""
    return request.study.seed(request.instruction.phase, request.instruction.server_round)
