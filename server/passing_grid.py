"""A grid that hands everything on to another one: what those of a study have in common."""

from collections.abc import Callable, Iterable
from typing import Any

from flwr.app import Message
from flwr.serverapp import Grid


class PassingGrid(Grid):
    """Passes on what it is told.

    Args:
        grid: carries the messages.
    """

    def __init__(self, grid: Grid) -> None:
        self._grid = grid

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        return self._grid.push_messages(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return self._grid.pull_messages(message_ids)

    def get_node_ids(self) -> Iterable[int]:
        return self._grid.get_node_ids()

    def get_nodes(self) -> Iterable[Any]:
        """Flower's account of every connected node, where the grid below has one."""
        known: Callable[[], Iterable[Any]] | None = getattr(self._grid, "get_nodes", None)
        return known() if known is not None else []

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        raise NotImplementedError("a study asks and pulls by itself, see server/exchange.py")

    def set_run(self, run: Any) -> None:
        self._grid.set_run(run)

    @property
    def run(self) -> Any:
        return self._grid.run

    def create_message(self, *arguments: Any, **options: Any) -> Message:
        return self._grid.create_message(*arguments, **options)
