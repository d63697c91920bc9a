"""One private round of local training at a site: planned, paid for, and taken."""

from typing import Any

from client.data.request import Request
from client.privacy.checks import require_private
from client.privacy.patients import PoissonPatients
from client.privacy.plan import account_of_study, private_steps
from client.privacy.training import train_privately
from common.errors import RefusalError
from common.imaging.slices import Slices
from common.study.experiment import FederationConfig
from common.training.trainer import Trainer


def train_private_round(
    request: Request, phase: str, trainer: Trainer[Any], sources: list[Slices], federation: FederationConfig
) -> int:
    """Trains for one round with patients as the unit of privacy.

    A round that is repeated draws new noise, and is paid for again: from what the study keeps in reserve, and when that
    is gone, not at all.

    Args:
        phase: under which the study announced this training.
        trainer: with its weights and private state loaded.
        sources: slices to draw from; see :class:`PoissonPatients`.
        federation: how long a round is.

    Returns:
        How many steps were taken.

    Raises:
        RefusalError: for a training that was not announced, or if the budget does not suffice. The text may leave.
        PrivacyError: if the guarantee cannot be given.
    """
    instruction, privacy = request.instruction, request.study.experiment.privacy
    if instruction.phase != phase:
        raise RefusalError("it was asked for a training under the name of another one")
    budget, plan = account_of_study(request.data, request.work)
    steps = private_steps(request.study.experiment, federation, budget.patients)
    noise = plan.noise(privacy, budget.patients, "" if instruction.arm else instruction.model)

    def charge(optimiser: str, count: int) -> None:
        mechanism = f"{phase}/{optimiser}"
        if mechanism not in plan.steps:
            raise RefusalError("it was asked for a training that the study had not announced")
        budget.charge(
            run=instruction.run,
            mechanism=mechanism,
            sigma=plan.sigma,
            q=plan.rate,
            steps=count,
            run_cap=privacy.epsilon,
        )

    patients = PoissonPatients(
        sources,
        rate=plan.rate,
        slices=noise.slices,
        make=require_private(trainer).patient_examples,
        random=request.means.random(),
    )
    train_privately(
        trainer,
        patients,
        steps,
        noise,
        condition=sources[0].condition(),
        charge=charge,
        modes=request.memory.modes.setdefault(phase, {}),
        watch=request.means.watch,
    )
    return steps
