"""What a file outlines, and how its names are compared with a hospital's lists."""

import unicodedata
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from common.imaging.remarks import Remark

Mask = npt.NDArray[np.bool_]

UNNAMED = "unnamed"
"""What an outline is called to which its file gives no name."""

_LONGEST = 200


@dataclass(frozen=True)
class Outlines:
    """The outlines of one file that were asked for, by ``plain_name``; those that share a name are joined.

    Attributes:
        masks: name -> (Z, Y, X) on the volume's grid; empty for an outline that is drawn on no slice.
        unusable: name -> why nothing of what is drawn can be used; without a mask, unless another has the same name.
        remarks: what of the others was left out, or taken on a guess.
    """

    masks: dict[str, Mask]
    unusable: dict[str, str]
    remarks: tuple[Remark, ...]


def plain_name(text: object) -> str:
    """A name as it is compared and shown: small letters, single spaces, no ``*`` (which stands for any text in a list).

    >>> plain_name("  GTV\\u00a0 p1 "), plain_name("GTV*"), plain_name(None)
    ('gtv p1', 'gtv_', 'unnamed')
    """
    return _plain(text).replace("*", "_")[:_LONGEST] or UNNAMED


def plain_pattern(text: str) -> str:
    """A name of a hospital's list in the same letters, with its ``*``.

    >>> plain_pattern(" GTV* "), plain_pattern("Mass")
    ('gtv*', 'mass')
    """
    return _plain(text) if "*" in text else plain_name(text)


def _plain(text: object) -> str:
    written = unicodedata.normalize("NFKC", "" if text is None else str(text).replace("\0", " "))
    return " ".join(unicodedata.normalize("NFKC", written.casefold()).split())
