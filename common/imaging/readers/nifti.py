"""The bytes of one NIfTI file: its header and voxels, unpacked fast and within bounds, whatever its name says."""

import gzip
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from isal import isal_zlib
from nibabel.nifti1 import Nifti1PairHeader
from nibabel.nifti2 import Nifti2PairHeader
from nibabel.volumeutils import apply_read_scaling

from common.errors import BadStudyError

_GZIP = 31
"""``wbits`` of zlib for a stream with gzip's header and checksum."""
_GZIP_MAGIC = b"\x1f\x8b"
_OVERHEAD = 2**16
"""Bytes for gzip's header and for blocks that do not shrink, which also cost 5 bytes in 65,535."""
_HEADER_BYTES = 1024
_MOST_BEFORE = 2**24
"""Bytes before the voxels: the header, and extensions that a program may have added to it."""
_SIZES = {348: slice(344, 348), 540: slice(4, 12)}
"""The first number of a header, NIfTI-1's and NIfTI-2's, and where its magic stands."""
_OTHERS: Mapping[bytes, str] = {
    b"PK\x03\x04": "a zip archive, not a NIfTI file; unpack it",
    b"BZh": "packed with bzip2, not gzip; unpack it",
    b"\xfd7zXZ": "packed with xz, not gzip; unpack it",
    b"\x28\xb5\x2f\xfd": "packed with zstd, not gzip; unpack it",
    b"NRRD": "an NRRD file, not NIfTI; convert it",
    b"ObjectType": "a MetaImage file, not NIfTI; convert it",
    b"NDims": "a MetaImage file, not NIfTI; convert it",
    b"version https://git-lfs": "a pointer of Git LFS; the file itself was not fetched",
    b"<": "text as a web server sends it, not a NIfTI file; download it again",
}
"""How a file begins that is something else -> what it is."""


@dataclass(frozen=True)
class NiftiHeader:
    """The header of one file.

    Attributes:
        fields: as nibabel has it.
        pixdim: (3,) voxel sizes as they stand in the file; nibabel puts 1 for those that are missing.
    """

    fields: Any
    pixdim: npt.NDArray[np.float64]

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along (X, Y, Z, ...)."""
        return tuple(int(side) for side in self.fields.get_data_shape())


def read_header(path: Path) -> NiftiHeader:
    """The header of a packed or plain file, by its content; no voxel is read.

    Raises:
        BadStudyError: the file is something else; the reason says what.
        Exception: of nearly any kind, where the header is damaged.
    """
    with path.open("rb") as file:
        first = _unpacked(file, _HEADER_BYTES)
    if first.startswith(_GZIP_MAGIC):
        raise BadStudyError(f"{path.name}: was compressed twice; unpack it once, e.g. with gunzip")
    for beginning, what in _OTHERS.items():
        if first.startswith(beginning):
            raise BadStudyError(f"{path.name}: is {what}")
    if first[128:132] == b"DICM":
        raise BadStudyError(f"{path.name}: is a DICOM file, not NIfTI; use reader: dicom, or convert it")
    size = next((n for n in _SIZES if first[:4] in (n.to_bytes(4, "little"), n.to_bytes(4, "big"))), None)
    if size is None or len(first) < size:
        raise ValueError("no header of NIfTI")
    magic = first[_SIZES[size]]
    if magic[:2] == b"ni":
        raise BadStudyError(f"{path.name}: is one half of a pair (.hdr and .img); convert it to one .nii.gz file")
    if size == 348 and magic == bytes(4):
        raise BadStudyError(
            f"{path.name}: is in the older format Analyze 7.5, which does not tell left from right; convert it to NIfTI"
        )
    # The class for pairs reads no extensions, which nothing needs and a damaged header can make endless.
    kind: Any = Nifti1PairHeader if size == 348 else Nifti2PairHeader
    fields: Any = kind(first[: kind.template_dtype.itemsize], check=False)
    pixdim = np.array(fields["pixdim"][1:4], dtype=np.float64)
    fields.check_fix()
    if fields["vox_offset"] == 0:  # Which nibabel would take for the first byte of the header.
        fields["vox_offset"] = {348: 352, 540: 544}[size]
    return NiftiHeader(fields, pixdim)


def read_voxels(path: Path, header: NiftiHeader) -> npt.NDArray[Any]:
    """Voxels (X, Y, Z, ...) in the units of the header, in the type of the file unless the header scales them.

    A packed file is unpacked by ISA-L, several times as fast as by zlib, and never further than its header says. One
    whose first stream is not the whole of it is left to zlib, as far.

    Args:
        header: what :func:`read_header` made of ``path``.

    Raises:
        Exception: of nearly any kind, where the file is damaged or ends too early.
    """
    shape, dtype, offset = header.shape, header.fields.get_data_dtype(), header.fields.get_data_offset()
    count = math.prod(shape)
    if min(shape, default=0) < 1 or not 0 <= offset <= _MOST_BEFORE:
        raise ValueError("the header gives no place for the voxels")
    end = offset + count * dtype.itemsize
    with path.open("rb") as file:
        content = file.read(end + end // 1000 + _OVERHEAD)
        if content.startswith(_GZIP_MAGIC):
            # One byte more: the checksum is read.
            content = isal_zlib.decompressobj(_GZIP).decompress(content, end + 1)
            if len(content) < end:
                file.seek(0)
                content = _unpacked(file, end)
    stored = np.frombuffer(content, dtype, count, offset).reshape(shape, order="F")
    slope, inter = header.fields.get_slope_inter()
    return np.asarray(apply_read_scaling(stored, slope, inter))


def _unpacked(file: BinaryIO, count: int) -> bytes:
    """The first bytes of a file, unpacked if it is packed."""
    packed = file.read(2) == _GZIP_MAGIC
    file.seek(0)
    if not packed:
        return file.read(count)
    with gzip.GzipFile(fileobj=file) as stream:
        return stream.read(count)
