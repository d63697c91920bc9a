"""A lock that processes of one machine hold on a file; the system lets go of it when its holder dies."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(file: Path, *, wait: bool = True) -> Iterator[None]:
    """Holds the lock on ``file``, which is made if it is missing and may hold anything.

    Args:
        file: its folder must be there.
        wait: for another holder; otherwise that is an error.

    Raises:
        BlockingIOError: if another holds it and ``wait`` is off.
        OSError: if the file cannot be opened, or is a link.
    """
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def is_held(file: Path) -> bool:
    """Whether somebody holds the lock on ``file``; a file that is not there is held by nobody.

    Nothing is written, and those who ask at the same moment do not take each other for a holder.
    """
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
