"""A Flower ``Grid`` that runs the ClientApp in this process, one site after another: no Ray, no network.

Ideas and limits: messages are handled when their replies are pulled, so that a caller sees each site finish; a
message's content is handed over without being serialised, as Flower's own in-memory grid does.
"""

import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity

from client.app import SITE_CONFIG

SERVER_NODE = 1
FIRST_NODE = 2


class InProcessGrid(Grid):
    """Sites as plain function calls."""

    def __init__(self, app: ClientApp, site_files: Sequence[Path]) -> None:
        """Args:
        app: the ClientApp of every site.
        site_files: each site's ``site.yaml``.
        """
        # Flower stamps every Message with the identity of the task that makes it.
        TaskIdentity.run_id = TaskIdentity.task_id = 1
        TaskIdentity.node_id = SERVER_NODE
        self._app = app
        self._contexts = {
            FIRST_NODE + index: Context(
                run_id=1,
                node_id=FIRST_NODE + index,
                node_config={SITE_CONFIG: str(file)},
                state=RecordDict(),
                run_config={},
            )
            for index, file in enumerate(site_files)
        }
        self._waiting: dict[str, Message] = {}

    def get_node_ids(self) -> Iterable[int]:
        return list(self._contexts)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        identifiers = []
        for message in messages:
            identifier = str(uuid.uuid4())
            message.metadata.__dict__["_message_id"] = identifier
            message.metadata.__dict__["_run_id"] = 1
            self._waiting[identifier] = message
            identifiers.append(identifier)
        return identifiers

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Runs the first of the waiting messages and returns its reply."""
        for identifier in message_ids:
            message = self._waiting.pop(identifier, None)
            if message is not None:
                return [self._run(message)]
        return []

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        identifiers = list(self.push_messages(messages))
        return [reply for identifier in identifiers for reply in self.pull_messages([identifier])]

    def set_run(self, run: Any) -> None:
        """There is one run; nothing to choose."""

    @property
    def run(self) -> Any:
        raise RuntimeError("an in-process grid has no Flower run")

    def create_message(self, *arguments: Any, **options: Any) -> Message:
        raise RuntimeError("create_message is deprecated in Flower; build a Message")

    def _run(self, message: Message) -> Message:
        context = self._contexts.get(message.metadata.dst_node_id)
        if context is None:
            return Message(Error(code=3, reason="there is no such node"), reply_to=message)
        try:
            return self._app(message, context)
        except Exception:  # as a real node: the reason stays there
            return Message(Error(code=2, reason="it failed outside its handlers"), reply_to=message)
