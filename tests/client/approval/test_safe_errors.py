"""What a node sends where Flower answered for an app that it could not start: asked of Flower's own state and code."""

from types import SimpleNamespace
from typing import Any

import flwr.supernode.start_client_internal as internal
import pytest
from flwr.app import ConfigRecord, Error, Message, RecordDict
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supercore.task_identity import TaskIdentity
from flwr.supernode.nodestate import NodeStateFactory

from client.approval.safe_errors import REASON, install_safe_errors
from common.protocol.actions import FAILED

PATHS = "<class 'OSError'>:<'[Errno 28] No space left on device: /home/hospital/patients/MUELLER'>"


def sent(answer: Any, monkeypatch: pytest.MonkeyPatch) -> list[Message]:
    """What reaches the coordinator of an answer to a question, whole."""
    for name, value in {"_run_id": 7, "_node_id": 1, "_task_id": 3}.items():
        monkeypatch.setattr(TaskIdentity, name, value)
    stores = ObjectStoreFactory()
    state, store = NodeStateFactory(stores).state(), stores.store()
    question = Message(RecordDict({"c": ConfigRecord({"a": 1})}), dst_node_id=5, message_type="query.hello")
    question.metadata.__dict__["_message_id"] = question.object_id
    reply = Message(answer, reply_to=question)
    internal._insert_message(reply, state, store)
    told: list[Message] = []
    parts: dict[str, bytes] = {}

    def send(message: Any, tree: Any, seconds: float) -> tuple[set[str], str]:
        assert tree.object_id == message.metadata.message_id
        told.append(message_from_proto(message_to_proto(message)))
        return {tree.object_id, *(child.object_id for child in tree.children)}, "session"

    module = SimpleNamespace(_push_messages=internal._push_messages)
    install_safe_errors(module, ("known words",))
    module._push_messages(
        state=state,
        object_store=store,
        send=send,
        push_object=lambda run, session, identifier, content: parts.__setitem__(identifier, content),
    )
    # Nothing is left that would be sent a second time, and every part that was announced was sent.
    assert state.get_messages_legacy(is_reply=True) == []
    assert parts.keys() >= {told[0].metadata.message_id}
    assert all(PATHS.encode() not in content for content in parts.values())
    return told


@pytest.mark.parametrize("code", [0, 1, 2, 3, 6, 8])
def test_an_exceptions_text_stays_here(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    (message,) = sent(Error(code, PATHS), monkeypatch)
    assert (message.error.code, message.error.reason) == (code, REASON)
    assert message.metadata.message_type == "query.hello"
    assert message.metadata.reply_to_message_id


@pytest.mark.parametrize("error", [Error(FAILED, "hospital1: it failed"), Error(9, "known words")])
def test_our_own_words_leave_as_they_are(error: Error, monkeypatch: pytest.MonkeyPatch) -> None:
    (message,) = sent(error, monkeypatch)
    assert (message.error.code, message.error.reason) == (error.code, error.reason)


def test_an_answer_leaves_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    content = RecordDict({"c": ConfigRecord({"b": 2})})
    (message,) = sent(content, monkeypatch)
    assert not message.has_error()
