"""Whether a message may be answered at all, as far as privacy goes: asked for every action, before anything is done."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from flwr.app import RecordDict

from client.data.context import StudyContext
from client.data.request import Request
from client.data.site_data import ONLY_PRIVATE, SiteData
from client.data.work import WorkFolder
from client.hello.notes import Notes
from client.policy.updates import large_enough
from client.privacy.budget import BudgetSpentError
from client.privacy.declarations import ACTIONS, Declared, Leaves
from client.privacy.guarded import public_examples, tells_noised_scores
from client.privacy.ledger import LedgerError
from client.privacy.plan import account_of_study
from client.privacy.questions import require_question, settle_test_set
from client.privacy.slices import require_known_patients
from client.privacy.trained import RECORD
from common.errors import PrivacyError, RefusalError
from common.imaging.slices import Slices
from common.protocol.actions import Action
from common.protocol.records import ARRAYS, CONFIG, METRICS, NUM_EXAMPLES, ROUND, received_arrays
from common.results.classifier import SiteArms
from common.system.files import read_json, write_json

MOST_FOREGROUND = 0.5
"""Largest ``image.min_foreground`` of a study at a site that guards its patients: somewhere above, a single patient
decides whether there are data at all."""


@contextmanager
def silently(study: StudyContext, *, quiet: bool | None = None) -> Iterator[None]:
    """Whatever goes wrong within it stays in the site's log.

    For work that stays at the hospital: whether it succeeds can depend on one patient, e.g. on whether somebody has a
    lesion of the size that the study chose, and the answer says no more than that it was asked for.

    Args:
        quiet: whether that holds; by default in a private study.
    """
    try:
        yield
    except Exception:
        if not (study.private if quiet is None else quiet):
            raise
        study.settings.log.exception("not done; the coordinator is not told, because that would speak of patients")


def remember_training(request: Request) -> None:
    """Writes down who trains in this trial, before anything is trained: whoever has is never scored."""
    names, recorded = set(request.data.split.train), request.memory.recorded
    file = request.work.run_state / RECORD
    if names and names <= recorded:
        return
    kept = set(read_json(file)) if file.exists() else set()
    # Also that nobody did: a run without a record would count as one that does not say.
    if not names <= kept or not file.exists():
        write_json(file, sorted(names | kept))
    recorded.update(names | kept)


@contextmanager
def admitted(request: Request, action: str, content: RecordDict) -> Iterator[Request]:
    """Refuses a message that the hospital's rules on privacy do not allow, and what an answer must not hold.

    Within it the message is answered, with the test patients that may be scored; an answer that is declared to be
    noised and was not paid for is refused, and without noise one that rests on fewer patients or slices than the
    hospital demands.

    Args:
        request: the message.
        action: Flower's message type, e.g. ``train.gan``.
        content: of the message.

    Raises:
        RefusalError: with a text that may leave.
        PrivacyError: if no guarantee can be given.
    """
    study = request.study
    declared = ACTIONS.get(Action(action)) if action in list(Action) else None
    if study.guarded and study.experiment.image.min_foreground > MOST_FOREGROUND:
        raise RefusalError(f"image.min_foreground is above {MOST_FOREGROUND:g}, where few patients are left")
    _require_privacy(study, declared)
    if declared is not None and declared.trains:
        remember_training(request)
    if declared is not None and declared.tests and study.guarded:
        request = replace(request, scored=_scored(request, declared, content))
    if not study.private:
        updates = declared is not None and declared.updates
        with large_enough(request.data, request.behind, action, request.instruction.model, updates=updates):
            yield request
        return
    if declared is None or declared.leaves is Leaves.REFUSED:
        raise RefusalError("it does not answer this in a private study")
    if not declared.trains:
        yield request
        return
    require_known_patients(request.data)
    budget, _ = account_of_study(request.data, request.work)
    before = budget.charges(study.run)
    yield request
    if declared.leaves is Leaves.NOISED and budget.charges(study.run) == before:
        raise PrivacyError(f"{action}: was answered from training patients, and no step was paid for")


def _scored(request: Request, declared: Declared, content: RecordDict) -> Slices | None:
    """Settles which test patients are scored, and counts a question whose answer tells of them.

    Returns:
        The slices of these patients; None if that cannot be settled, where nothing of them is told.
    """
    study, own = request.study, request.study.settings.privacy
    if study.private:
        # min_cell counts patients; images that name none may all be one person's.
        require_known_patients(request.data)
    if study.private and own is None and "train" in study.settings.roles:
        raise RefusalError("it trains, and has no privacy budget: who tests would be the study's choice")
    if own is not None and own.scores == "noised" and not study.private:
        raise RefusalError("it tells noised figures only, and the study is not private")
    told = declared.leaves is Leaves.TEST or not study.private
    if told:
        weights = received_arrays(content) if declared.leaves is Leaves.TEST else None
        require_question(study, request.work, request.instruction, weights)
    if tells_noised_scores(study):
        # The noise is for one patient more or less. Others who were left out beside one who left would be several.
        return request.data.test
    if told:
        # After the question, so that what is refused settles nothing.
        return settle_test_set(request.data, told=True)
    with silently(study):
        return settle_test_set(request.data, told=False)
    return None


def require_declared_answer(study: StudyContext, action: str, content: RecordDict) -> None:
    """Refuses to send, in a private run, what the action does not declare.

    Raises:
        PrivacyError: naming the record that is too much.
    """
    if not study.private:
        return
    declared = ACTIONS[Action(action)].leaves
    if too_much := set(content) - _RECORDS[declared]:
        raise PrivacyError(f"{action}: would have sent {', '.join(sorted(too_much))}, which it does not declare")
    if more := set(content[CONFIG]) - _KEYS - ({"result"} if declared in _WITH_RESULT else set()):
        raise PrivacyError(f"{action}: would have sent {', '.join(sorted(more))}, which it does not declare")
    if declared is Leaves.NOTHING and content[CONFIG].get("result", EMPTY) != EMPTY:
        raise PrivacyError(f"{action}: would have sent a result, and declares that it says nothing")
    if METRICS in content and set(content[METRICS]) != {NUM_EXAMPLES}:
        raise PrivacyError(f"{action}: would have sent losses, which are means over patients without noise")
    if METRICS in content and content[METRICS][NUM_EXAMPLES] != public_examples(study):
        raise PrivacyError(f"{action}: would have sent a number of examples that the hospital has not declared")


_RECORDS: Mapping[Leaves, frozenset[str]] = {
    Leaves.DECLARED: frozenset({CONFIG}),
    Leaves.NOTHING: frozenset({CONFIG}),
    Leaves.TEST: frozenset({CONFIG}),
    Leaves.NOISED: frozenset({CONFIG, ARRAYS, METRICS}),
    Leaves.MODEL: frozenset({CONFIG, ARRAYS}),
    Leaves.REFUSED: frozenset(),
}

_KEYS = frozenset({"run", "phase", ROUND, "site"})
"""Of the ``config`` record of every answer: which question it answers, and who does."""

_WITH_RESULT = (Leaves.DECLARED, Leaves.TEST, Leaves.NOTHING)
"""What comes with a small result as JSON; where nothing is told, with an empty one."""

EMPTY = SiteArms(arms={}).model_dump_json()
"""What a site says of classifiers that stay with it."""


def _require_privacy(study: StudyContext, declared: Declared | None) -> None:
    """Refuses trainings that are not private where the hospital has set a budget.

    A coordinator who could ask for the same patients without noise would not have to raise the budget.
    """
    own = study.settings.privacy
    trains = declared is None or declared.trains
    if own is not None and own.without == "refuse" and not study.private and trains:
        raise RefusalError(ONLY_PRIVATE)


def tasks_are_private_enough(data: SiteData, work: WorkFolder, notes: Notes) -> bool:
    """Whether this site may train in the study; if not, a note says why in words that may leave."""
    if "train" not in data.study.settings.roles:
        return True
    try:
        _require_privacy(data.study, None)
        if data.study.private:
            require_known_patients(data)
            account_of_study(data, work)
        return True
    except PrivacyError as error:
        data.study.settings.log.exception("privacy")
        reason = (
            "its privacy ledger cannot be relied on; the hospital must look at it"
            if isinstance(error, LedgerError)
            else "no privacy guarantee can be given for this study; its own log says why"
        )
    except BudgetSpentError:
        data.study.settings.log.exception("budget")
        reason = "what is left of its privacy budget does not suffice for this study"
    except RefusalError as refusal:
        reason = str(refusal)
    notes.append(f"trains nothing: {reason}")
    for task in (*(f"gan/{model}" for model in data.study.experiment.models), "classifier"):
        notes.decline(task, reason)
    return False
