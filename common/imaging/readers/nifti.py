"""The voxels of one NIfTI file, unpacked fast and within bounds."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from isal import isal_zlib
from nibabel.volumeutils import apply_read_scaling

_GZIP = 31
"""``wbits`` of zlib for a stream with gzip's header and checksum."""
_OVERHEAD = 2**16
"""Bytes for gzip's header and for blocks that do not shrink, which also cost 5 bytes in 65,535."""


def read_voxels(path: Path, image: Any) -> npt.NDArray[Any]:
    """Voxels (X, Y, Z, ...) in the units of the header, in the type of the file unless the header scales them.

    A ``.gz`` file is unpacked by ISA-L, several times as fast as by zlib, and never further than its header says.
    Any other is left to nibabel, and so is one whose first stream is not the whole of it.

    Args:
        image: what ``nibabel.load`` made of ``path``; nothing but its header has been read.

    Raises:
        Exception: of nearly any kind, where the file is damaged or ends too early.
    """
    proxy: Any = image.dataobj
    if path.suffix.lower() == ".gz":
        count = math.prod(proxy.shape)
        end = proxy.offset + count * proxy.dtype.itemsize
        with path.open("rb") as file:
            packed = file.read(end + end // 1000 + _OVERHEAD)
        content = isal_zlib.decompressobj(_GZIP).decompress(packed, end + 1)  # One byte more: the checksum is read.
        if len(content) >= end:
            stored = np.frombuffer(content, proxy.dtype, count, proxy.offset).reshape(proxy.shape, order="F")
            return np.asarray(apply_read_scaling(stored, proxy.slope, proxy.inter))
    return np.asarray(proxy)
