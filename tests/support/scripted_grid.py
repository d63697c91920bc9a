"""A Flower ``Grid`` of three sites whose answers a test writes."""

from collections.abc import Callable, Iterable
from typing import Any

from flwr.app import Error, Message, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity
from torch import Tensor

from common.protocol.records import (
    ARRAYS,
    CONFIG,
    METRICS,
    Instruction,
    read_instruction,
    received_arrays,
    reply_record,
    to_arrays,
    training_metrics,
)

SITES = ("hospital1", "hospital2", "hospital3")
Outcome = RecordDict | Error | str | list[RecordDict] | None
Behaviour = Callable[[str, Instruction, dict[str, Tensor]], Outcome]


class ScriptedGrid(Grid):
    """Sites that answer as ``behave`` says: a reply or several, an error or its text, or nothing; in reversed order."""

    def __init__(self, behave: Behaviour) -> None:
        TaskIdentity.run_id = TaskIdentity.task_id = TaskIdentity.node_id = 1
        self.behave = behave
        self.waiting: dict[str, Message] = {}
        self.asked: list[tuple[str, int]] = []

    def get_node_ids(self) -> Iterable[int]:
        return list(range(len(SITES)))

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        identifiers = []
        for message in messages:
            identifier = f"message {len(self.asked)}"
            message.metadata.__dict__["_message_id"] = identifier
            self.waiting[identifier] = message
            identifiers.append(identifier)
            self.asked.append((SITES[message.metadata.dst_node_id], read_instruction(message.content).server_round))
        return identifiers

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        replies = []
        for identifier in reversed(list(message_ids)):
            message = self.waiting.pop(identifier, None)
            if message is None:
                continue
            site = SITES[message.metadata.dst_node_id]
            arrays = received_arrays(message.content) if message.content.array_records else {}
            outcome = self.behave(site, read_instruction(message.content), arrays)
            if isinstance(outcome, RecordDict):
                replies.append(Message(outcome, reply_to=message))
            elif isinstance(outcome, list):
                replies += [Message(one, reply_to=message) for one in outcome]
            elif outcome is not None:
                error = outcome if isinstance(outcome, Error) else Error(code=2, reason=outcome)
                replies.append(Message(error, reply_to=message))
        return replies

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        raise AssertionError("the round loop pulls by itself")

    def set_run(self, run: Any) -> None: ...

    @property
    def run(self) -> Any:
        return None

    def create_message(self, *arguments: Any, **options: Any) -> Message:
        raise AssertionError


def reply(site: str, instruction: Instruction, arrays: dict[str, Tensor], examples: int = 1) -> RecordDict:
    return RecordDict(
        {
            ARRAYS: to_arrays(arrays),
            METRICS: training_metrics(examples, {"l1": float(arrays["generator.w"].sum())}),
            CONFIG: reply_record(instruction, site),
        }
    )
