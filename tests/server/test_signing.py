"""What a deployed study sends is signed, each time anew; the same weights are looked at once."""

from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.common.serde import message_from_proto, message_to_proto
from scripted_grid import ScriptedGrid

from common.errors import ConfigError
from common.protocol.actions import NOT_NOW, Action
from common.protocol.records import ARRAYS, CONFIG, Instruction, instruction_record
from common.protocol.signed_questions import SIGNATURE, read_statement, require_same
from server import signing
from server.app import make_app
from server.returning import ReturningGrid
from server.signing import SigningGrid

KEY = Ed25519PrivateKey.generate()


class Kept(ScriptedGrid):
    """Sites that say "not now" and whose questions are kept as they came."""

    def __init__(self) -> None:
        from flwr.app import Error

        super().__init__(lambda *_: Error(code=NOT_NOW, reason="later"))
        self.messages: list[Message] = []

    def push_messages(self, messages: Any) -> Any:
        messages = list(messages)
        self.messages += messages
        return super().push_messages(messages)


def questions(nodes: int = 1) -> list[Message]:
    arrays = ArrayRecord({"g.a": Array(np.arange(6, dtype=np.float32).reshape(2, 3))})
    config = instruction_record(Instruction(run="demo", phase="hello", experiment="a: 1"))
    return [
        Message(RecordDict({ARRAYS: arrays, CONFIG: config}), dst_node_id=node, message_type="train.gan", group_id="1")
        for node in range(nodes)
    ]


def test_each_question_holds_what_was_asked_and_a_signature_that_fits() -> None:
    kept = Kept()
    SigningGrid(kept, KEY).push_messages(asked := questions(3))
    numbers = set()
    for sent, one in zip(kept.messages, asked, strict=True):
        assert set(sent.content) == {ARRAYS, CONFIG, SIGNATURE}
        assert sent.content[ARRAYS] is one.content[ARRAYS]
        statement = read_statement(sent.content, KEY.public_key())
        require_same(statement, sent)
        assert statement.node == sent.metadata.dst_node_id
        numbers.add(statement.number)
    assert len(numbers) == 3


def test_a_question_that_is_sent_again_is_signed_anew() -> None:
    now = [0.0]
    kept = Kept()
    grid = ReturningGrid(SigningGrid(kept, KEY), again_after=1, clock=lambda: now[0])
    [known] = grid.push_messages(questions())
    assert not list(grid.pull_messages([known]))
    now[0] = 2.0
    grid.pull_messages([known])
    first, second = (read_statement(message.content, KEY.public_key()) for message in kept.messages)
    assert first.number != second.number
    assert first.content == second.content
    require_same(second, kept.messages[1])


def test_the_same_weights_are_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    real = signing.array_digest
    monkeypatch.setattr(signing, "array_digest", lambda array: looked.append(1) or real(array))
    grid = SigningGrid(Kept(), KEY)
    grid.push_messages(questions(3))
    assert len(looked) == 1
    grid.push_messages(questions(3))
    assert len(looked) == 2


def test_a_signature_outlasts_flowers_own_form() -> None:
    kept = Kept()
    content = questions()[0].content
    content["more"] = ConfigRecord({"n": -(2**62), "x": 0.1, "b": b"\x00", "l": [1.5, 2.0], "t": ["a"], "f": [True]})
    content["more"]["word"] = Action.HELLO
    SigningGrid(kept, KEY).push_messages([Message(content, dst_node_id=0, message_type="train.gan", group_id="1")])
    [sent] = kept.messages
    arrived = message_from_proto(message_to_proto(sent))
    require_same(read_statement(arrived.content, KEY.public_key()), arrived)


def test_a_study_without_a_key_does_not_begin_and_says_so(tmp_path: Any) -> None:
    overrides = '["preset=demo", "reference.brain.path=/nowhere"]'
    context = Context(
        run_id=1,
        node_id=1,
        node_config={},
        state=RecordDict(),
        run_config={"output": str(tmp_path / "run"), "overrides": overrides},
    )
    with pytest.raises(ConfigError, match="question-key must name"):
        make_app()(Kept(), context)
    assert "question-key must name" in (tmp_path / "run" / "progress.jsonl").read_text()
