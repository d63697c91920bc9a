"""Whether a disk keeps what is written to it: asked by writing, since a full one looks like any other."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.errors import ConfigError, DiskFullError

FULL = (errno.ENOSPC, errno.EDQUOT)
"""What the system says where there is no more room, on the disk or for this user."""

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
        if error.errno in FULL:
            return f"{folder}: the disk is full; make room: the {what}'s folder can keep nothing more"
        return f"{folder}: the {what}'s folder cannot be written ({error.strerror}); let this user write there"
    return None


@contextmanager
def writable(option: str, path: Path) -> Iterator[None]:
    """Names the option that says where something goes, if it cannot be written there.

    Args:
        option: as it was written before the path, e.g. ``--to `` or ``simulation.runs_dir=``.
        path: what it says.

    Raises:
        ConfigError: instead of the system's error; a name that is taken, and a disk that is full, stay what they are.
    """
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno in FULL:
            raise
        raise ConfigError(f"{option}{path}: cannot be written ({error.strerror}); name another with it") from error


def disk_full(error: OSError, path: Path | None = None, needed: int | None = None) -> DiskFullError:
    """What is told instead of the system's error, which names neither the disk nor how full it is.

    Args:
        error: one of :data:`FULL`.
        path: of the file that found no room; None: the one that the error names, if it does.
        needed: bytes that were to be written there.
    """
    named = path or (Path(os.fsdecode(error.filename)) if error.filename is not None else None)
    if named is None:
        return DiskFullError("a disk is full, and a file could not be written; make room, and give the command again")
    there = next((one for one in (named.absolute(), *named.absolute().parents) if one.exists()), Path("/"))
    free = shutil.disk_usage(there).free
    wanted = f", {needed:,} are needed" if needed is not None else ""
    full = "this user's share of the disk is used up" if error.errno == errno.EDQUOT else "the disk is full"
    return DiskFullError(f"{named}: {full} ({free:,} bytes are free{wanted}); make room, and give the command again")
