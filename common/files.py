"""Files that are either whole or not there: written beside the target, flushed, then renamed.

Tensors and arrays have functions of their own (:mod:`common.array_files`): most commands only need text.
"""

import json
import os
from pathlib import Path
from typing import Any

from common.errors import DamagedFileError


def write_bytes(path: Path, content: bytes) -> None:
    """Replaces ``path`` by ``content`` in one step; a crash leaves the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
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
        DamagedFileError: if it holds none, or is nested beyond all sense.
        FileNotFoundError: if it is not there.
    """
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(path, "is no JSON") from error


def read_table(path: Path) -> dict[str, Any]:
    """:func:`read_json` of a file that holds a table, ``{...}``; raises what it raises, also for anything else."""
    table = read_json(path)
    if not isinstance(table, dict):
        raise DamagedFileError(path, "holds no table")
    return table
