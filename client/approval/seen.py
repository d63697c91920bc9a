"""The numbers of the questions that this site has worked on, so that none is worked on a second time."""

import re
from pathlib import Path

from flwr.app import DEFAULT_TTL

from client.audit.hash_chain import append_line
from client.enrolment.clock import MOST_AHEAD, MOST_BEHIND
from common.errors import RefusalError
from common.system.file_lock import locked
from common.system.private_files import make_private_folder, write_private

KEPT = DEFAULT_TTL + 2 * (MOST_AHEAD + MOST_BEHIND).total_seconds()
"""Seconds by the coordinator's clock that a number is kept: a question that is older is refused for its age."""

TOO_OLD = "the question was signed too long ago, or its clock is ahead of the coordinator's"

_LINE = re.compile(r"([0-9]+\.[0-9]+) ([0-9a-f]{32})")


class SeenQuestions:
    """Numbers and times on disk, one a line; processes that write at once wait for each other.

    Args:
        file: where; made with the first number.
    """

    def __init__(self, file: Path) -> None:
        self.file = file

    def add(self, number: str, made: float) -> None:
        """Notes a number.

        Args:
            number: of the question, 32 hexadecimal digits.
            made: when it was signed, by the coordinator's clock. The newest of these is what ages are counted from:
                this machine's own clock may be put back.

        Raises:
            RefusalError: if it is known, or so old that it may have been forgotten.
            OSError: if it cannot be noted. The question must then not be worked on.
        """
        make_private_folder(self.file.parent)
        with locked(self.file.with_suffix(".lock")):
            text = self.file.read_text(errors="replace") if self.file.exists() else None
            found = [match.groups() for match in map(_LINE.fullmatch, (text or "").splitlines()) if match]
            known = {one: float(time) for time, one in found}
            oldest = max((*known.values(), made)) - KEPT
            if number in known:
                raise RefusalError("it was asked this before: the question is a copy")
            if made < oldest:
                raise RefusalError(TOO_OLD)
            kept = {one: time for one, time in known.items() if time >= oldest}
            # Anew where a killed process left half a line, and where most of it may be forgotten: seldom.
            if text is None or not text.endswith("\n") or 2 * len(kept) < len(known):
                content = "".join(f"{time:.6f} {one}\n" for one, time in kept.items()) or "\n"
                write_private(self.file, content.encode(), replace=True)
            append_line(self.file, f"{made:.6f} {number}\n".encode())
