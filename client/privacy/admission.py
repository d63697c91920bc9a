"""Whether a study may train at this site at all, as far as privacy goes; asked before anything is trained."""

import logging

from client.privacy.budget import Budget, BudgetSpentError
from client.privacy.ledger import LedgerError
from client.privacy.plan import study_plan
from client.session import Session
from common.errors import PrivacyError, RefusalError


def require_admission(session: Session) -> None:
    """Refuses a training that is not private where the hospital has set a budget.

    A coordinator who could ask for the same patients without noise would not have to raise the budget.

    Raises:
        RefusalError: with a text that may leave.
    """
    own = session.settings.privacy
    if own is not None and own.without == "refuse" and not session.private:
        raise RefusalError("it trains with differential privacy only, and the study asks for none")


def tasks_are_private_enough(session: Session, notes: list[str]) -> bool:
    """Whether this site may train in the study; if not, a note says why in words that may leave."""
    log = logging.getLogger(f"oncofed.client.{session.settings.name}")
    if "train" not in session.settings.roles:
        return True
    try:
        require_admission(session)
        if session.private:
            study_plan(session, Budget(session.settings))
    except BudgetSpentError:
        log.exception("budget")
        notes.append("trains nothing: what is left of its privacy budget does not suffice for this study")
    except LedgerError:
        log.exception("ledger")
        notes.append("trains nothing: its privacy ledger cannot be relied on; the hospital must look at it")
    except RefusalError as refusal:
        notes.append(f"trains nothing: {refusal}")
    except PrivacyError:
        log.exception("privacy")
        notes.append("trains nothing: no privacy guarantee can be given for this study; its own log says why")
    else:
        return True
    return False
