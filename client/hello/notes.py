"""What a site says beside its tasks at hello: sentences for people, and why it takes no part in something."""

from collections.abc import Iterable


class Notes(list[str]):
    """Sentences that may leave.

    Attributes:
        declined: by task (``gan/<model>``, ``classifier``, ``evaluate``), why this site takes no part in it.
    """

    def __init__(self, sentences: Iterable[str] = ()) -> None:
        super().__init__(sentences)
        self.declined: dict[str, str] = {}

    def decline(self, task: str, reason: str) -> None:
        """Notes a task that is not taken up; the first reason stays."""
        self.declined.setdefault(task, reason)
