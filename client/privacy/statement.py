"""What a site says of the privacy that a study cost its patients."""

from client.data.context import StudyContext
from client.data.work import WorkFolder
from client.privacy.accounting import prv_epsilon, rdp_epsilon
from client.privacy.budget import Budget
from client.privacy.coordinators_copy import coordinators_copy
from client.privacy.witness import standing
from common.errors import RefusalError
from common.protocol.actions import Action
from common.results.privacy import MechanismSpent, PrivacyStatement
from common.study.phases import Phase, PhaseKind
from common.system.files import write_json


def model_of_mechanism(name: str) -> str:
    """
    >>> model_of_mechanism("gan/cgan/run-2/generator"), model_of_mechanism("classifier/real/classifier")
    ('cgan', 'classifier')
    """
    phase = Phase.parse(name)
    return phase.name if phase.kind == PhaseKind.GAN else phase.kind


def privacy_statement(study: StudyContext, work: WorkFolder) -> PrivacyStatement:
    """What this run has spent here, by mechanism and composed; the hospital's own account stays beside it.

    Numbers of steps, noise and sampling rate follow from the study and from what the hospital declared, not from a
    patient's data.

    Raises:
        RefusalError: if the study is not private.
    """
    if not study.private:
        raise RefusalError("the study trains without differential privacy, so there is nothing to state")
    budget = Budget(study.settings)
    spent = budget.spent(run=study.run)
    statement = PrivacyStatement(
        delta=budget.delta,
        patients=budget.patients,
        max_grad_norm=study.experiment.privacy.max_grad_norm,
        mechanisms=[
            MechanismSpent(
                mechanism=one.name, sigma=one.sigma, q=one.q, steps=one.steps, epsilon=prv_epsilon([one], budget.delta)
            )
            for one in spent
        ],
        models={
            name: prv_epsilon([one for one in spent if model_of_mechanism(one.name) == name], budget.delta)
            for name in dict.fromkeys(model_of_mechanism(one.name) for one in spent)
        },
        epsilon=prv_epsilon(spent, budget.delta),
        epsilon_rdp=rdp_epsilon(spent, budget.delta),
        witness=coordinators_copy(study.settings, budget.ledger),
    )
    everything = budget.spent()
    write_json(
        work.results / "privacy.json",
        {
            "statement": statement.model_dump(),
            # A witness for later: these results must not know of more charges than the ledger.
            "ledger": standing(budget.ledger).values(),
            "cap": budget.cap,
            "spent": budget.epsilon(),
            "spent_prv": prv_epsilon(everything, budget.delta) + budget.ledger.assumed_epsilon,
        },
    )
    return statement


def ledger_fields(study: StudyContext, action: str) -> dict[str, dict[str, str | int]]:
    """What the record of messages keeps of the ledger with the answer to a private training or to a statement.

    The record is a witness from then on: the ledger must not know of fewer charges later.
    """
    if not study.private or action not in (Action.TRAIN_GAN, Action.TRAIN_CLASSIFIER, Action.PRIVACY):
        return {}
    return {"ledger": standing(Budget(study.settings).ledger).values()}
