"""Files that are either whole or not there: written beside the target, flushed, then renamed."""

import io
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from common.errors import DamagedFileError
from common.safe_json import RepeatedKeyError, read_json_text

_MOST_UNPACKED = 2 * 2**30
"""Bytes of all arrays in one archive; the largest that is written here has some hundred million."""


def write_bytes(path: Path, content: bytes) -> None:
    """Replaces ``path`` by ``content`` in one step; a crash leaves the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name that nobody can lay a link under beforehand.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
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


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Named tensors as safetensors."""
    write_bytes(path, save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Named tensors from safetensors; nothing in the file is executed.

    Raises:
        DamagedFileError: if it is no such file.
        FileNotFoundError: if it is not there.
    """
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (SafetensorError, ValueError, RuntimeError, KeyError) as error:
        raise DamagedFileError(path, "is no safetensors file") from error
    return tensors


def write_arrays(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Named arrays as a compressed npz without pickles."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **dict(arrays))
    write_bytes(path, buffer.getvalue())


def read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Named arrays from an npz; pickled content is refused.

    Raises:
        DamagedFileError: if it is no such file.
        FileNotFoundError: if it is not there.
    """
    return arrays_in(path.read_bytes(), path)


def arrays_in(content: bytes, path: Path) -> dict[str, npt.NDArray[Any]]:
    """:func:`read_arrays` of what was read from ``path`` already."""
    try:
        with ZipFile(io.BytesIO(content)) as packed:
            # What is packed unpacks to no more than the archive's directory says, or is damaged.
            if sum(entry.file_size for entry in packed.infolist()) > _MOST_UNPACKED:
                raise DamagedFileError(path, "would unpack to more than 2 GiB")
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        if not all(isinstance(array, np.ndarray) for array in arrays.values()):
            # numpy hands out what has no array's signature as bare bytes.
            raise DamagedFileError(path, "holds something else than arrays")
        return arrays
    except DamagedFileError:
        raise
    except Exception as error:  # numpy, zipfile and zlib raise nearly anything over a file that is none
        raise DamagedFileError(path, "is no archive of plain arrays") from error
