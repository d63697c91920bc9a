"""Files of tensors and arrays, written as all files are (:mod:`common.system.files`); nothing in them is executed."""

import io
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
from common.system.files import write_bytes

_MOST_UNPACKED = 2 * 2**30
"""Bytes of all arrays in one archive; the largest that is written here has some hundred million."""


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


def read_arrays(path: Path, *names: str) -> dict[str, npt.NDArray[Any]]:
    """Named arrays from an npz; pickled content is refused.

    Args:
        names: of the arrays to read, of those that are there; all by default.

    Raises:
        DamagedFileError: if it is no such file.
        FileNotFoundError: if it is not there.
    """
    return arrays_in(path.read_bytes(), path, *names)


def arrays_in(content: bytes, path: Path, *names: str) -> dict[str, npt.NDArray[Any]]:
    """:func:`read_arrays` of what was read from ``path`` already."""
    try:
        with ZipFile(io.BytesIO(content)) as packed:
            # What is packed unpacks to no more than the archive's directory says, or is damaged.
            if sum(entry.file_size for entry in packed.infolist()) > _MOST_UNPACKED:
                raise DamagedFileError(path, "would unpack to more than 2 GiB")
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files if not names or name in names}
        if not all(isinstance(array, np.ndarray) for array in arrays.values()):
            # numpy hands out what has no array's signature as bare bytes.
            raise DamagedFileError(path, "holds something else than arrays")
        return arrays
    except DamagedFileError:
        raise
    except Exception as error:  # numpy, zipfile and zlib raise nearly anything over a file that is none
        raise DamagedFileError(path, "is no archive of plain arrays") from error
