"""A private training: for each step the patients are drawn, the step is paid for, and then it is taken."""

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from client.privacy.checks import require_equal_halves, require_patients, require_private
from client.privacy.fastest import faster_mode
from client.privacy.gradients import VMAP_AT_ONCE, GradSampleMode, PrivateStep, Watch
from client.privacy.patients import Drawn, PoissonPatients
from client.privacy.randomness import KEY_BYTES, PrivateRandom
from common.imaging.slices import PatientSlices, Slices
from common.training.patients import PatientTrainer, PatientUpdate
from common.training.trainer import Trainer

AHEAD = 10
"""Training steps paid for at a time; a training that is killed loses at most these."""

Charge = Callable[[str, int], None]
"""``charge(optimiser, steps)`` pays for steps of one mechanism; it raises where the budget does not suffice."""


@dataclass(frozen=True)
class Noise:
    """What one private training is made with.

    Attributes:
        sigma: standard deviation of the noise, in units of ``max_grad_norm``.
        max_grad_norm: largest L2 norm of one patient's gradient.
        rate: probability that a patient takes part in a step.
        expected: the expected number of patients a step, by the declared number of patients.
        slices: of each patient that takes part.
        mode: how gradients are computed; None: whichever is faster here.
        rates: optimiser -> factor on its learning rate.
    """

    sigma: float
    max_grad_norm: float
    rate: float
    expected: float
    slices: int
    mode: GradSampleMode | None = None
    rates: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Means:
    """What a private training is taken with at a site, beside its plan: a hospital's own unless a test exchanges it.

    Attributes:
        random: makes the randomness of each training; two that shall draw alike share a key.
        watch: is shown what each step adds up to, before the noise: for canaries, which no hospital runs on patients.
    """

    random: Callable[[], PrivateRandom] = PrivateRandom
    watch: Watch | None = None


def train_privately(
    trainer: Trainer[Any],
    patients: PoissonPatients,
    steps: int,
    noise: Noise,
    *,
    condition: Tensor,
    charge: Charge,
    modes: MutableMapping[str, GradSampleMode] | None = None,
    watch: Watch | None = None,
) -> None:
    """``steps`` training steps of ``trainer``, each update of it on a draw of patients of its own.

    Nothing of the training is returned: losses, norms and numbers of patients speak of the patients, and what may be
    known of it is the weights.

    Args:
        trainer: with its weights and private state loaded.
        patients: Poisson draws at ``noise.rate``; all other chance comes from the same randomness.
        steps: how many; fixed beforehand.
        noise: of the training.
        condition: (K,) the site's organ and contrasts.
        charge: pays for steps before they are taken; what it raises ends the training.
        modes: how gradients are computed, by optimiser, as an earlier round measured it; what is measured is added.
        watch: is shown what each step adds up to, before the noise; see :class:`PrivateStep`.

    Raises:
        PrivacyError: if the guarantee cannot be given; nothing was trained or charged then.
    """
    private = require_private(trainer)
    require_patients(patients)
    updates = list(private.patient_updates(condition))
    takers = _takers(private, updates, noise, patients, {} if modes is None else modes, watch)
    chance = patients.random.stream("public").generator()
    private.to_training_mode()
    for block in _blocks(steps):
        for optimiser in takers:
            charge(optimiser, block * sum(update.optimiser == optimiser for update in updates))
        for _ in range(block):
            private.begin_step()
            _scale_rates(private, noise.rates)
            for update in updates:
                takers[update.optimiser].take(patients.draw())
            private.public_update(condition, chance)
            private.end_step()


def _scale_rates(trainer: PatientTrainer[Any], factors: Mapping[str, float]) -> None:
    """After the trainer's own schedule, which sets each rate anew at every step."""
    for name, factor in factors.items():
        for group in trainer.optimisers[name].param_groups if name in trainer.optimisers else []:
            group["lr"] *= factor


def steps_by_mechanism(trainer: PatientTrainer[Any], steps: int, condition: Tensor) -> dict[str, int]:
    """Optimiser -> how many private steps ``steps`` training steps take of it."""
    counts: dict[str, int] = {}
    for update in trainer.patient_updates(condition):
        counts[update.optimiser] = counts.get(update.optimiser, 0) + steps
    return counts


def _takers(
    trainer: PatientTrainer[Any],
    updates: list[PatientUpdate[Any]],
    noise: Noise,
    patients: PoissonPatients,
    modes: MutableMapping[str, GradSampleMode],
    watch: Watch | None,
) -> dict[str, PrivateStep]:
    # Without a single training patient there is nothing to look at, and every step is noise: that shows nowhere.
    probe = _probe(trainer, patients, noise) if patients.names else []
    for one in probe[:1]:
        require_equal_halves(one.batch)
    takers = {}
    for update in {update.optimiser: update for update in updates}.values():
        name = update.optimiser
        if noise.mode is None and name not in modes:
            modes[name] = faster_mode(update, probe, trainer.device) if probe else GradSampleMode.LOOP
        takers[name] = PrivateStep(
            trainer.optimisers[name],
            update,
            sigma=noise.sigma,
            max_grad_norm=noise.max_grad_norm,
            expected=noise.expected,
            noise=patients.random.stream("noise", name),
            mode=noise.mode or modes[name],
            watch=watch,
        )
    return takers


def _blocks(steps: int) -> Iterator[int]:
    return (min(AHEAD, steps - done) for done in range(0, steps, AHEAD))


def _probe(trainer: PatientTrainer[Any], patients: PoissonPatients, noise: Noise) -> list[Drawn]:
    """Made-up patients of the same shape: how long they take, and how many examples they make, tells of nobody."""
    source, slices = patients.sources[0], noise.slices
    like = source.patients[0]
    size = like.labels.shape[-1]
    random = np.random.default_rng(0)
    labels = np.zeros((slices, size, size), np.uint8)
    labels[::2, size // 3 : size // 2, size // 3 : size // 2] = 1
    made = PatientSlices(
        patient="made up",
        images=random.random((slices, like.images.shape[1], size, size)).astype(np.float16),
        labels=labels,
        foreground=np.ones((slices, size, size), np.uint8),
    )
    own = Slices(source.organ, source.contrasts, [made], source.min_tumour_pixels)
    draws = PoissonPatients(
        [own], rate=1.0, slices=slices, make=trainer.patient_examples, random=PrivateRandom(bytes(KEY_BYTES))
    )
    return [draws.draw()[0] for _ in range(min(VMAP_AT_ONCE, max(1, round(2 * noise.expected))))]
