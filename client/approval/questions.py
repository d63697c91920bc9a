"""Which messages a node acts on: those that carry its coordinator's signature, for this node, lately, and once.

Whoever has a key of this federation can send messages through its server; only the coordinator has the key whose
public half this site got with its kit.
"""

import time
from datetime import timedelta
from pathlib import Path

from flwr.app import DEFAULT_TTL, Context, Message

from client.approval.seen import TOO_OLD, SeenQuestions
from client.enrolment.clock import MOST_AHEAD, MOST_BEHIND
from client.enrolment.connection import load_connection, require_question_key
from client.site import SiteSettings
from common.errors import ConfigError, RefusalError
from common.protocol.question_keys import public_key
from common.protocol.signed_questions import SIGNATURE, Statement, read_statement, require_same

LONGEST_WAY = timedelta(seconds=DEFAULT_TTL)
"""From the signature to the node that works on it: as long as Flower keeps a message that is not fetched."""


def require_signed(site: Path, settings: SiteSettings, message: Message, context: Context) -> None:
    """Refuses a message that the coordinator did not sign for this node, and takes the signature off one that it did.

    Args:
        site: the ``site.yaml``; ``connection.yaml`` lies beside it.
        settings: in it.
        message: as it came.
        context: Flower's, of this node.

    Raises:
        RefusalError: with a reason that may leave.
        UnacceptableError: likewise.
    """
    folder = site.resolve().parent
    try:
        key = require_question_key(load_connection(folder), folder)
    except ConfigError as error:
        raise RefusalError(
            "it has no key by which it knows its coordinator's questions; its hospital must join again, with a new kit"
        ) from error
    statement = read_statement(message.content, public_key(key))
    if (statement.run, statement.node) != (context.run_id, context.node_id):
        raise RefusalError("the question was signed for another node or run")
    _require_fresh(statement, time.time())
    require_same(statement, message)
    SeenQuestions(settings.folder / "questions-seen.txt").add(statement.number, statement.made)
    del message.content[SIGNATURE]


def _require_fresh(statement: Statement, now: float) -> None:
    age = now - statement.made
    if age > (LONGEST_WAY + MOST_AHEAD).total_seconds():
        raise RefusalError(TOO_OLD)
    if age < -MOST_BEHIND.total_seconds():
        raise RefusalError("the question was signed in the future: its clock is behind the coordinator's")
