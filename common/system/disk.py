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

DISK_FULL = "its disk is full"
"""What a site answers where it is."""

_THEN = "make room; a run then goes on with resume=, all else with the same command"

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


def require_place(option: str, path: Path, *, folder: bool) -> None:
    """Looks, before there is anything to write, whether it could go where an option says; nothing is made.

    Args:
        option: e.g. ``--to``.
        path: what it says; it need not exist, nor what lies above it.
        folder: whether it is to be a folder, or a file.

    Raises:
        ConfigError: naming the option.
    """
    whole = path.expanduser().absolute()
    there = next(one for one in (whole, *whole.parents) if one.exists())
    if there == whole and there.is_dir() != folder:
        problem = "is no folder" if folder else "is a folder"
    elif there != whole and not there.is_dir():
        problem = f"cannot be made: {there} is no folder"
    elif not os.access(there, os.W_OK):
        problem = f"this user may not write to {there}"
    else:
        return
    raise ConfigError(f"{option} {path}: {problem}; name another with {option}")


def disk_full(error: OSError, path: Path | None = None, needed: int | None = None) -> DiskFullError:
    """What is told instead of the system's error, which names neither the disk nor how full it is.

    Args:
        error: one of :data:`FULL`.
        path: of the file that found no room; None: the one that the error names, if it does.
        needed: bytes that were to be written there.
    """
    named = path or (Path(os.fsdecode(error.filename)) if error.filename is not None else None)
    if named is None:
        return DiskFullError(f"a disk is full, and a file could not be written; {_THEN}")
    there = next((one for one in (named.absolute(), *named.absolute().parents) if one.exists()), Path("/"))
    free = shutil.disk_usage(there).free
    wanted = f", {needed:,} are needed" if needed is not None else ""
    full = "this user's share of the disk is used up" if error.errno == errno.EDQUOT else "the disk is full"
    return DiskFullError(f"{named}: {full} ({free:,} bytes are free{wanted}); {_THEN}")
