"""What public data sets and hospitals call the contrasts of a brain."""

import re
from collections.abc import Mapping

CONTRAST_NAMES: Mapping[str, str] = {
    "t1": "t1",
    "t1n": "t1",
    "t1w": "t1",
    "t1ce": "t1ce",
    "t1c": "t1ce",
    "t1gd": "t1ce",
    "t1wce": "t1ce",
    "t1wgd": "t1ce",
    "t2": "t2",
    "t2w": "t2",
    "flair": "flair",
    "t2f": "flair",
    "t2flair": "flair",
    "t2wflair": "flair",
    "ct": "ct",
}
"""A name in lower case, without what separates its parts -> ours: BraTS 2017 to 2021 (``t1ce``), BraTS since 2023
(``t1c``), UPENN-GBM and the Medical Segmentation Decathlon (``T1GD``), BIDS (``T1w``)."""


def contrast_of(name: str) -> str | None:
    """The contrast that somebody's name stands for; None where it cannot be told.

    >>> contrast_of("T1-Gd"), contrast_of("T2w_FLAIR"), contrast_of("MRI")
    ('t1ce', 'flair', None)
    """
    return CONTRAST_NAMES.get(re.sub(r"[^a-z0-9]", "", name.casefold()))
