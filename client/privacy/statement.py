"""What a site says of the privacy that a study cost its patients."""

from client.privacy.accounting import prv_epsilon, rdp_epsilon
from client.privacy.budget import Budget
from client.session import Session
from common.errors import RefusalError
from common.results_privacy import MechanismSpent, PrivacyStatement


def privacy_statement(session: Session) -> PrivacyStatement:
    """What this run has spent here, by mechanism and composed.

    Numbers of steps, noise and sampling rate follow from the study and from what the hospital declared, not from a
    patient's data.

    Raises:
        RefusalError: if the study is not private.
    """
    if not session.private:
        raise RefusalError("the study trains without differential privacy, so there is nothing to state")
    budget = Budget(session.settings)
    spent = budget.spent(run=session.run)
    return PrivacyStatement(
        delta=budget.delta,
        patients=budget.patients,
        clip=session.experiment.privacy.clip,
        mechanisms=[
            MechanismSpent(
                mechanism=one.name, sigma=one.sigma, q=one.q, steps=one.steps, epsilon=prv_epsilon([one], budget.delta)
            )
            for one in spent
        ],
        epsilon=prv_epsilon(spent, budget.delta),
        epsilon_rdp=rdp_epsilon(spent, budget.delta),
    )
