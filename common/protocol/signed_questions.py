"""What a coordinator signs of each question between institutions, and how the signature travels.

Flower carries messages of whoever may connect, and lets a sender say who it is. So a question has one record more than
its own: a statement (which message, of which run, for which node, made when, with which number, with what in it) and
the coordinator's Ed25519 signature of it.
"""

import hashlib
import json
from collections.abc import Callable

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from flwr.app import Array, ConfigRecord, Message, RecordDict
from pydantic import BaseModel, ConfigDict, Field

from common.protocol.records import UnacceptableError

SIGNATURE = "signature"
"""The record that carries it."""

_STATEMENT = "statement"
_PREFIX = b"oncofed question 1\n"
"""So that nothing else that this key may ever sign can be taken for a question."""

ArrayDigest = Callable[[Array], str]


class Statement(BaseModel):
    """What is signed.

    Attributes:
        action: Flower's message type.
        group: its group ID.
        run: Flower's number of the run.
        node: the node that is asked.
        made: when, in seconds since 1970 by the coordinator's clock.
        number: random, and never used a second time.
        content: :func:`content_digest` of all other records.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    action: str
    group: str
    run: int
    node: int
    made: float = Field(allow_inf_nan=False)
    number: str = Field(pattern=r"^[0-9a-f]{32}$")
    content: str


def signature_record(statement: Statement, key: Ed25519PrivateKey) -> ConfigRecord:
    """The record that a question carries."""
    text = statement.model_dump_json()
    return ConfigRecord({_STATEMENT: text, SIGNATURE: key.sign(_PREFIX + text.encode())})


def read_statement(content: RecordDict, key: Ed25519PublicKey) -> Statement:
    """The statement that a message carries, after a look at its signature; not yet compared with the message.

    Raises:
        UnacceptableError: if there is none, or another key signed it.
    """
    record = content.config_records.get(SIGNATURE) or ConfigRecord()
    text, signature = record.get(_STATEMENT), record.get(SIGNATURE)
    if not isinstance(text, str) or not isinstance(signature, bytes):
        raise UnacceptableError("the question does not carry its coordinator's signature")
    try:
        key.verify(signature, _PREFIX + text.encode())
        return Statement.model_validate_json(text)
    except (InvalidSignature, ValueError) as error:
        raise UnacceptableError("the question was not signed by its coordinator") from error


def require_same(statement: Statement, message: Message) -> None:
    """Refuses a message that is not the one that was signed; its content is looked at last.

    Raises:
        UnacceptableError: naming what differs.
    """
    about = message.metadata
    found = {"action": about.message_type, "group": about.group_id, "run": about.run_id, "node": about.dst_node_id}
    for what, value in found.items():
        if getattr(statement, what) != value:
            raise UnacceptableError(f"the question was signed for another {what}")
    if content_digest(message.content) != statement.content:
        raise UnacceptableError("the question holds something else than what was signed")


def array_digest(array: Array) -> str:
    """SHA-256 of an array's name for its numbers, its shape, its form and its bytes, which are not copied."""
    digest = hashlib.sha256(json.dumps([array.dtype, list(array.shape), array.stype]).encode())
    digest.update(array.data)
    return digest.hexdigest()


def content_digest(content: RecordDict, of_array: ArrayDigest = array_digest) -> str:
    """SHA-256 of every record of a message but the signature's: names, kinds, values and their types.

    Args:
        content: of the message.
        of_array: gives :func:`array_digest`, perhaps of what it has seen before.

    >>> content_digest(RecordDict({"a": ConfigRecord({"x": 1})})) == content_digest(
    ...     RecordDict({"a": ConfigRecord({"x": 1.0})})
    ... )
    False
    """
    told = [
        [name, type(record).__name__, [[key, _told(record[key], of_array)] for key in sorted(record)]]
        for name, record in sorted(content.items())
        if name != SIGNATURE
    ]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _told(value: object, of_array: ArrayDigest) -> object:
    """A value so that no two different ones are told alike."""
    if isinstance(value, Array):
        return ["array", of_array(value)]
    if isinstance(value, list):
        return ["list", [_told(item, of_array) for item in value]]
    if isinstance(value, bytes):
        return ["bytes", value.hex()]
    if isinstance(value, float):
        return ["float", float(value).hex()]
    if isinstance(value, int):
        return ["bool" if isinstance(value, bool) else "int", int(value)]
    # By kind and not by class: a word of an enumeration arrives as the plain text that it is.
    return ["text", str(value)]
