"""Opening one DICOM file: quietly, within bounds, and with one kind of error."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pydicom
from pydicom import FileDataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from common.errors import BadStudyError
from common.system.logs import IMAGE_LIBRARIES

MOST_BYTES = 2 * 2**30
"""The largest file, and the largest volume in memory, that is read: 2 GiB, or 2,000 slices of 512 x 512."""

_PREAMBLE = 128
_WITHOUT_PREAMBLE = (b"\x02\x00", b"\x08\x00", b"\x00\x08")
"""How a data set begins that lacks the preamble: group 2 or 8, little endian, or group 8 big endian."""

_DEFLATED = b"1.2.840.10008.1.2.1.99"


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps the libraries that read images from filling the terminal over damaged files.

    What matters of their warnings is checked by readers and becomes a reason.
    """
    loggers = [logging.getLogger(name) for name in IMAGE_LIBRARIES]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def read_header(path: Path, keywords: Sequence[str]) -> FileDataset | None:
    """The attributes ``keywords`` of a DICOM file, as far as it has them; None for any other file.

    Raises:
        BadStudyError: it begins as DICOM does, but cannot be read.
        PermissionError: it may not be read.
    """
    try:
        with path.open("rb") as stream:
            if not _begins_as_dicom(stream):
                return None
            return pydicom.dcmread(stream, stop_before_pixels=True, force=True, specific_tags=list(keywords))
    except (BadStudyError, PermissionError):
        raise
    except Exception as error:  # A damaged header makes pydicom raise nearly anything.
        raise BadStudyError(f"{path.name}: its header cannot be read, the file is damaged or incomplete") from error


def read_file(path: Path) -> FileDataset:
    """A whole DICOM file.

    Raises:
        BadStudyError: it is missing, no DICOM, damaged, or too large.
    """
    try:
        with path.open("rb") as stream:
            if path.stat().st_size > MOST_BYTES:
                raise BadStudyError(f"{path.name}: is larger than {MOST_BYTES >> 30} GiB")
            if not _begins_as_dicom(stream):
                raise BadStudyError(f"{path.name}: is no DICOM file, or damaged")
            dataset = pydicom.dcmread(stream, force=True)
    except BadStudyError:
        raise
    except Exception as error:  # A damaged file makes pydicom raise nearly anything.
        raise BadStudyError(f"{path.name}: cannot be read, the file is damaged or incomplete") from error
    if "TransferSyntaxUID" not in dataset.file_meta:  # Stored without the preamble: pydicom looked how it is written.
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    return dataset


def _begins_as_dicom(stream: BinaryIO) -> bool:
    """Whether the file has DICOM's signature, or begins with a data set; leaves the stream at its beginning.

    A deflated data set is refused: it may unpack to any size, and no scanner writes images that way.
    """
    head = stream.read(1024)
    stream.seek(0)
    if _DEFLATED in head:
        raise BadStudyError(f"{Path(stream.name).name}: its data set is deflated, which is not read; store it plainly")
    signed = head[_PREAMBLE : _PREAMBLE + 4] == b"DICM"
    return signed or (len(head) > 8 and head[:2] in _WITHOUT_PREAMBLE)
