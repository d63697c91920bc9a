"""Whether a disk keeps what is written to it: asked by writing, since a full one looks like any other."""

import errno
import os
import tempfile
from pathlib import Path

_PROBE = 65_536
"""Bytes: more than a disk that counts as full has left over."""


def write_problem(what: str, folder: Path) -> str | None:
    """Why nothing can be kept in a folder: something is, and read back; None if that went well.

    Args:
        what: the folder is, e.g. ``cache``.
        folder: it is made if it is missing.
    """
    content = os.urandom(_PROBE)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # It has no name, or loses it at once: nothing of it stays behind.
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            file.seek(0)
            if file.read() != content:
                return f"{folder}: what is written to the {what}'s folder is not what is read there; examine the disk"
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return f"{folder}: the disk is full; make room: the {what}'s folder can keep nothing more"
        return f"{folder}: the {what}'s folder cannot be written ({error.strerror}); let this user write there"
    return None
