"""``node.log``: what a node's programs print, line by line, each with its time; for people only."""

import io
import logging
import os
import time
from logging.handlers import RotatingFileHandler
from pathlib import Path

from common.system.outside import printable, uncoloured

_LONGEST = 2_000


class NodeLog(RotatingFileHandler):
    """The file and its three predecessors, which only their owner may read.

    Args:
        path: of the newest.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, maxBytes=5_000_000, backupCount=3, encoding="utf-8")
        path.chmod(0o600)
        form = logging.Formatter("%(asctime)s UTC %(message)s", "%Y-%m-%d %H:%M:%S")
        form.converter = time.gmtime
        self.setFormatter(form)

    def write(self, line: str) -> None:
        """Keeps a line; others chose some of its text."""
        self.emit(logging.makeLogRecord({"msg": printable(uncoloured(line), _LONGEST)}))

    def _open(self) -> io.TextIOWrapper:
        private = lambda name, flags: os.open(name, flags, 0o600)  # noqa: E731
        return open(self.baseFilename, "a", encoding="utf-8", opener=private)
