"""What Flower says of a failure at this hospital stays here: an exception's text names files, and may name patients.

An app answers errors of its own in words that may leave. Where it could not even be started, because the disk is full
or a bundle does not load, Flower answers for it, with the exception's text.
"""

import copy
from collections.abc import Callable
from typing import Any

from common.protocol.actions import FAILED, NO_SITE, NOT_NOW

REASON = "its node could not run the study's app; its own log says why"


def install_safe_errors(module: Any, known: tuple[str, ...]) -> None:
    """Puts other words in the place of Flower's, wherever a node answers with an error.

    Args:
        module: ``flwr.supernode.start_client_internal``.
        known: reasons that may leave, beside those of the app.
    """
    original = module._push_messages

    def push(*, state: Any, object_store: Any, send: Callable[..., Any], push_object: Callable[..., Any]) -> Any:
        def safely(message: Any, tree: Any, seconds: float) -> tuple[set[str], str]:
            if not message.has_error() or _may_leave(message.error, known):
                return tuple(send(message, tree, seconds))  # type: ignore[return-value]
            return _sent_anew(message, seconds, send, push_object)

        return original(state=state, object_store=object_store, send=safely, push_object=push_object)

    module._push_messages = push


def _may_leave(error: Any, known: tuple[str, ...]) -> bool:
    return error.code in (NO_SITE, FAILED, NOT_NOW) or error.reason in known


def _sent_anew(
    message: Any, seconds: float, send: Callable[..., Any], push_object: Callable[..., Any]
) -> tuple[set[str], str]:
    """Sends another message in its place, whole: its parts are not those that the node keeps."""
    from flwr.app import Error
    from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree

    told = copy.deepcopy(message)
    told.error = Error(message.error.code, REASON)
    told.metadata.__dict__["_message_id"] = told.object_id
    wanted, session = send(told, get_object_tree(told), seconds)
    for identifier, part in get_all_nested_objects(told).items():
        if identifier in wanted:
            push_object(told.metadata.run_id, session, identifier, part.deflate())
    return set(), session
