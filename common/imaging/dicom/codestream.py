"""How large an image is that lies compressed in a DICOM file, told without unpacking it.

A decoder believes the compressed data and makes room for what they state, whatever the DICOM header says: a few damaged
bytes can ask for many gigabytes.
"""

import struct

_J2K_START = b"\xff\x4f\xff\x51"
_JPEG_START = b"\xff\xd8"
_START_OF_FRAME = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})
"""JPEG's markers with a size, and JPEG-LS's; the three left out are tables."""


def grey_image_size(data: bytes) -> tuple[int, int] | None:
    """Rows and columns of a JPEG, JPEG-LS or JPEG 2000 image; None if it is none of these (RLE states no size).

    An image with several components has the rows of all of them, so that it never fits a grey one.

    >>> grey_image_size(bytes.fromhex("ffd8 ffc0 000b 08 0200 0100 01 01 11 00"))
    (512, 256)

    Source: ITU-T T.81 B.2.2, T.87 C.2.2, T.800 A.5.1.
    """
    if data.startswith(_JPEG_START):
        return _jpeg_size(data)
    start = data.find(_J2K_START, 0, 4096)  # A JP2 container puts some boxes in front.
    if start >= 0 and len(data) >= start + 42:
        right, bottom, left, top = struct.unpack_from(">4I", data, start + 8)
        (components,) = struct.unpack_from(">H", data, start + 40)
        return (bottom - top) * components, right - left
    return None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 10 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        (length,) = struct.unpack_from(">H", data, at + 2)
        if marker in _START_OF_FRAME:
            rows, columns, components = struct.unpack_from(">2HB", data, at + 5)
            return rows * components, columns
        at += 1 if marker == 0xFF else 2 + length
    return None
