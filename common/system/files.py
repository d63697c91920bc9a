"""Files that are either whole or not there: written beside the target, flushed, then renamed.

Tensors and arrays have functions of their own (:mod:`common.system.array_files`): most commands only need text.
"""

import json
import os
import secrets
from pathlib import Path
from typing import Any

from common.errors import DamagedFileError
from common.system.disk import FULL, disk_full
from common.system.safe_json import RepeatedKeyError, read_json_text


def write_bytes(path: Path, content: bytes) -> None:
    """Replaces ``path`` by ``content`` in one step; a crash leaves the old file or the new one.

    Raises:
        DiskFullError: if there is no room; nothing half-written stays behind.
    """
    # A name that nobody can lay a link under beforehand.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in FULL:
            raise disk_full(error, path, len(content)) from error
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_json(path: Path, value: Any) -> None:
    """``value`` as indented JSON; NaN is refused, since other readers do not know it."""
    write_bytes(path, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """The JSON in ``path``.

    Raises:
        DamagedFileError: if it holds none, is nested beyond all sense, or a key stands twice in one table.
        FileNotFoundError: if it is not there.
    """
    try:
        return read_json_text(path.read_bytes())
    except RepeatedKeyError as error:
        raise DamagedFileError(path, str(error)) from error
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(path, "is no JSON") from error


def read_table(path: Path) -> dict[str, Any]:
    """:func:`read_json` of a file that holds a table, ``{...}``; raises what it raises, also for anything else."""
    table = read_json(path)
    if not isinstance(table, dict):
        raise DamagedFileError(path, "holds no table")
    return table
