"""Sites that are simulated share a disk: if it is full for one of them, the study does not go on without that one."""

import errno
from collections.abc import Iterable
from pathlib import Path

from flwr.app import Message
from flwr.serverapp import Grid

from common.system.disk import DISK_FULL, disk_full, write_problem
from server.passing_grid import PassingGrid


class OneDisk(PassingGrid):
    """Ends the study where a site's answer says, or a failed one comes of it, that the disk is full.

    Args:
        grid: carries the messages.
        folder: of the run.
    """

    def __init__(self, grid: Grid, folder: Path) -> None:
        super().__init__(grid)
        self._folder = folder

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """As the grid below.

        Raises:
            DiskFullError: naming the run's folder. What a study would lose with that site's answer it would not find
                again when it is resumed.
        """
        replies = list(self._grid.pull_messages(message_ids))
        for reply in replies:
            # A log or record that cannot be written fails in words of its own.
            if reply.has_error() and (DISK_FULL in str(reply.error.reason) or self._is_full()):
                raise disk_full(OSError(errno.ENOSPC, ""), self._folder)
        return replies

    def _is_full(self) -> bool:
        return "the disk is full" in str(write_problem("run", self._folder))
