"""Each question of a deployed study is signed where it leaves, anew when it is sent again: no other is answered."""

import secrets
import time
import weakref
from collections.abc import Callable, Iterable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flwr.app import Array, Message, RecordDict
from flwr.serverapp import Grid

from common.protocol.signed_questions import SIGNATURE, Statement, array_digest, content_digest, signature_record
from server.passing_grid import PassingGrid


class SigningGrid(PassingGrid):
    """A grid that signs what it sends.

    Args:
        grid: carries the messages.
        key: whose public half the hospitals have from their kits.
        clock: tells seconds since 1970.
    """

    def __init__(self, grid: Grid, key: Ed25519PrivateKey, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__(grid)
        self._key = key
        self._clock = clock
        self._digests = _Digests()

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        return self._grid.push_messages([self._signed(message) for message in messages])

    def _signed(self, message: Message) -> Message:
        about, content = message.metadata, message.content
        statement = Statement(
            action=about.message_type,
            group=about.group_id,
            run=about.run_id,
            node=about.dst_node_id,
            made=self._clock(),
            number=secrets.token_hex(16),
            content=content_digest(content, self._digests.of),
        )
        # Records are shared by the questions to all sites, so the signature goes into a dictionary of its own.
        message.content = RecordDict({**content, SIGNATURE: signature_record(statement, self._key)})
        return message


class _Digests:
    """Digests of arrays that are still about: the same weights go to every site, and are looked at once."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[Array], str]] = {}

    def of(self, array: Array) -> str:
        known = self._known.get(id(array))
        if known is not None and known[0]() is array:
            return known[1]
        digest, place = array_digest(array), id(array)
        self._known[place] = (weakref.ref(array, lambda _: self._known.pop(place, None)), digest)
        return digest
