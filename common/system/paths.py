"""What is wrong with a path that a configuration names, in words, before anything is read or written there."""

import os
import stat
import tempfile
from enum import StrEnum
from pathlib import Path


class Use(StrEnum):
    """What a path of a configuration is for; each such field is marked with one."""

    DATA = "a folder that is read"
    WORK = "a folder that is made where it is missing, and written to"
    FILE = "a file that is read"
    KEPT = "a file that is made where it is missing, and written to"


PLACE = "place"
"""The key of a dataclass field's metadata that holds its :class:`Use`."""

_FOLDERS = (Use.DATA, Use.WORK)
_READ = (Use.DATA, Use.FILE)


def expanded(text: str) -> Path:
    """The path that ``text`` names, with ``~`` replaced by the home folder.

    Raises:
        ValueError: in words, if it can be no path or there is no such home.
    """
    if not text.strip():
        raise ValueError("is empty")
    if "\0" in text:
        raise ValueError("holds a NUL character, which no path can")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise ValueError("~ stands for the home of a user who is not known here; write the whole path") from error


def impossible(path: Path, use: Use) -> str:
    """Why ``path`` can never be used so, whatever is made or allowed later; empty if it can.

    A path that is not there is none of these cases: a share may not be mounted yet.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return ""
    except NotADirectoryError:
        return f"{_file_above(path)} is a file, and no folder can be in it"
    except PermissionError:
        return ""
    except OSError as error:
        return f"no path that can be used ({error.strerror})"
    except ValueError as error:
        return f"no path that can be used ({error})"
    if use in _FOLDERS and not stat.S_ISDIR(mode):
        return "is a file, where a folder is expected"
    if use not in _FOLDERS and stat.S_ISDIR(mode):
        return "is a folder, where a file is expected"
    if use not in _FOLDERS and not stat.S_ISREG(mode):
        # Whoever opens a pipe waits for somebody who writes into it.
        return "is no plain file"
    return ""


def unusable(path: Path, use: Use) -> str:
    """Why ``path`` cannot be used so at present: what :func:`impossible` says, or missing, or not allowed; empty if it
    can."""
    if problem := impossible(path, use):
        return problem
    if use in _READ:
        return _unreadable(path, use)
    if path.is_symlink() and not os.path.exists(path):
        return "is a link that leads nowhere"
    # The folder that has to be written to: itself, or the nearest one that is there.
    near = path if use is Use.WORK else path.parent
    while not os.path.lexists(near) and near != near.parent:
        near = near.parent
    if near.is_symlink() and not os.path.exists(near):
        return f"{near} is a link that leads nowhere"
    try:
        # Tried, because no rights tell of a disk that is read-only, or of the kernel's own folders.
        with tempfile.TemporaryFile(dir=near):
            return ""
    except OSError as error:
        return f"nothing can be written to {near} ({error.strerror})"


def _unreadable(path: Path, use: Use) -> str:
    if not os.access(path, os.F_OK):
        what = "folder" if use in _FOLDERS else "file"
        return "is a link that leads nowhere" if path.is_symlink() else f"there is no such {what}"
    if not os.access(path, os.R_OK | (os.X_OK if use in _FOLDERS else 0)):
        return "this user may not read it"
    return ""


def _file_above(path: Path) -> Path:
    """The nearest of the parents that is there, and is no folder."""
    return next((above for above in path.parents if os.path.lexists(above)), path)
