"""What a hospital allows, and when: its actions, models and hours in ``site.yaml``, asked before anything is done."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from client.data.context import StudyContext
from client.data.site_data import SiteData
from client.hello.notes import Notes
from client.policy.hours import Hours
from client.policy.updates import require_updates
from client.site import SiteSettings
from common.errors import NotNowError, RefusalError
from common.protocol.actions import Action
from common.study.phases import Phase
from common.training.build import model_exchange
from common.training.trainer import Exchange

_NEEDED = {
    "gan": (Action.TRAIN_GAN,),
    "classifier": (Action.TRAIN_CLASSIFIER,),
    "evaluate": (Action.EVALUATE, Action.ARMS),
}
"""The actions of which each kind of task needs at least one."""

NO_EXCHANGE: Mapping[Exchange, str] = {
    Exchange.AVERAGE: "its hospital does not allow weights to be averaged",
    Exchange.PROXIES: "its hospital does not allow training beside synthetic slices of others",
    Exchange.GRADIENTS: "its hospital does not allow gradients to be exchanged",
}
"""What is said of an exchange that ``allowed_exchanges`` does not hold."""

_AT_ANY_HOUR = (Action.HELLO, Action.PRIVACY)
"""Actions that neither train nor use a model."""


def require_action(settings: SiteSettings, action: str) -> None:
    """Refuses a message that this site does not answer.

    Args:
        action: Flower's message type, e.g. ``train.gan``.

    Raises:
        RefusalError: with a text that may leave.
    """
    if settings.allowed_actions is not None and action not in settings.allowed_actions:
        raise RefusalError("its hospital does not allow this action")


def require_hours(settings: SiteSettings, action: str, now: datetime) -> None:
    """Puts off a message that would train or use a model outside the hospital's hours.

    Args:
        action: Flower's message type, e.g. ``train.gan``.
        now: local time.

    Raises:
        NotNowError: with a text that may leave.
    """
    if settings.hours is None or action in _AT_ANY_HOUR:
        return
    if not Hours.parse(settings.hours).hold(now.time()):
        raise NotNowError("it is outside its hospital's hours")


def require_model(study: StudyContext, model: str) -> None:
    """Refuses a GAN of a family that is not to be trained or used here, whatever name the study gives it.

    Args:
        model: its name in the study; empty where the message is about none.

    Raises:
        RefusalError: with a text that may leave.
    """
    if model and not _allowed(study, model):
        raise RefusalError("its hospital does not allow this model")


def require_exchange(study: StudyContext, action: str, model: str) -> None:
    """Refuses whatever belongs to a training in which sites exchange what this hospital does not let leave.

    Args:
        action: Flower's message type, e.g. ``train.gan``.
        model: a GAN of the study; empty where the message is about none.

    Raises:
        RefusalError: with a text that may leave.
    """
    exchanges = [Exchange.AVERAGE] if action == Action.TRAIN_CLASSIFIER else []
    if model:
        exchanges.append(model_exchange(study.model(model)))
    for exchange in exchanges:
        if exchange not in study.settings.allowed_exchanges:
            raise RefusalError(NO_EXCHANGE[exchange])


def allowed_tasks(data: SiteData, tasks: Sequence[str], notes: Notes) -> list[str]:
    """Those of ``tasks`` that the hospital allows; what it does not is noted in words that may leave.

    A site that is asked for less than it could do keeps the study going; one that refuses in its middle does not.
    """
    left = []
    for task in tasks:
        named = Phase.parse(task)
        try:
            _require_task(data, named.kind, named.name)
        except RefusalError as refusal:
            notes.append(f"{named.name or named.kind}: takes no part, {refusal}")
            notes.decline(task, str(refusal))
        else:
            left.append(task)
    return left


def _require_task(data: SiteData, kind: str, model: str) -> None:
    actions = data.study.settings.allowed_actions
    if actions is not None and not any(action.value in actions for action in _NEEDED[kind]):
        raise RefusalError("its hospital does not allow this action")
    require_model(data.study, model)
    if kind == "evaluate":
        return
    require_exchange(data.study, _NEEDED[kind][0], model)
    # What is private is noised in place of that, and says nothing of how many patients train.
    if not data.study.blind:
        require_updates(data, model)


def _allowed(study: StudyContext, model: str) -> bool:
    allowed = study.settings.allowed_models
    if allowed is None:
        return True
    entry = study.experiment.models.get(model)
    # A name that the study does not have is no way around the list.
    return entry is not None and str(entry.get("family", "")) in allowed
