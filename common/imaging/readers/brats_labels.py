"""What the values of a BraTS mask mean: it differs from year to year and from set to set."""

import re
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from common.errors import BadStudyError
from common.imaging.remarks import Remark

LABEL_4 = ("resection_cavity", "enhancing")
Numbering = Mapping[int, int | None]
"""A mask's value -> one of ``patient.LESION_LABELS``; None: a resection cavity, which is no tumour."""

_UNTIL_2021: Numbering = {1: 1, 2: 2, 4: 4}
_SINCE_2023: Numbering = {1: 1, 2: 2, 3: 4}
_OWN: Numbering = {**_SINCE_2023, 4: 4}
"""A hospital's own names: each of these is tumour wherever it stands, but not 4 in a mask that also holds 3."""
_NOT_TOLD: Numbering = dict(_SINCE_2023)
"""Sets that keep to no numbering, or to one that is not known: 3 is a guess, and 4 has to be said."""
_AFTER_TREATMENT: Numbering = {**_SINCE_2023, 4: None}
_CHILDREN: Numbering = {1: 4, 2: 1, 3: 1, 4: 2}
"""BraTS-PED 2024: enhancing tumour, non-enhancing tumour, cyst, oedema."""
_TARGET: Numbering = {1: 1}
"""BraTS-MEN-RT: the gross tumour volume."""

_UNTIL_2015: Numbering = {1: 1, 2: 2, 3: 1, 4: 4}

_SETS: Mapping[str, Numbering] = {
    r"BraTS-PED-": _CHILDREN,
    r"BraTS-MEN-RT-": _TARGET,
    r"BraTS-": _SINCE_2023,
    r"PatientID_\d+_Timepoint_": _AFTER_TREATMENT,
    r"sub-|\d{6}_time\d|UCSD-PTGBM-|RHUH-": _NOT_TOLD,  # BIDS, and sets after treatment
    r"brats_(2013|tcia)_pat": _UNTIL_2015,
    r"Brats1[789]_|BraTS20_|BraTS2021_|UPENN-GBM-|UCSF-PDGM-": _UNTIL_2021,
}
"""How the cases of a public set are named -> what their labels mean."""
_NAMED_SINCE_2023 = {"t1n", "t2w", "t2f"}
_NAMED_UNTIL_2021 = {"t1", "t1ce", "t2", "flair", "t1gd"}


def numbering_of(case: str, words: Iterable[str], label_4: str = "") -> Numbering:
    """What the labels of one case mean, by its name, else by what its files are called.

    Args:
        words: how the files name their contrasts, in lower case.
        label_4: one of ``LABEL_4`` where the site says what 4 is; it counts where the set itself leaves it open.
    """
    numbering = next((known for start, known in _SETS.items() if re.match(start, case, re.IGNORECASE)), None)
    if numbering is None:
        used = set(words)
        since = bool(used & _NAMED_SINCE_2023) or not used & _NAMED_UNTIL_2021
        numbering = _SINCE_2023 if since or label_4 else _OWN
    if numbering == _SINCE_2023 and label_4:
        return _AFTER_TREATMENT if label_4 == LABEL_4[0] else {**_SINCE_2023, 4: 4}
    return numbering


def tumour_labels(
    values: npt.NDArray[np.integer], numbering: Numbering, name: str
) -> tuple[npt.NDArray[np.uint8], tuple[Remark, ...]]:
    """(Z, Y, X) labels of ``patient.LESION_LABELS`` from a mask's own values, and what of them was left aside.

    Args:
        name: of the mask's file.

    Raises:
        BadStudyError: if the mask holds a value that ``numbering`` does not know.
    """
    inside = values != 0
    found = values[inside]
    held = np.unique(found).tolist()
    odd = [value for value in held if value not in numbering]
    if (odd == [4] and numbering == _SINCE_2023) or (numbering is _OWN and {3, 4} <= set(held)):
        raise BadStudyError(
            f"{name}: mask holds 4, which is a resection cavity in some sets (BraTS 2024, after treatment) and "
            f"enhancing tumour in others (until 2021); say which: options.label_4: {LABEL_4[0]}, or {LABEL_4[1]}"
        )
    if odd:
        named = ", ".join(str(value) for value in odd[:3])
        raise BadStudyError(f"{name}: mask holds {named}; labels are {', '.join(map(str, [0, *numbering]))}")
    table = np.zeros(max(numbering) + 1, np.uint8)
    for value, label in numbering.items():
        table[value] = label or 0
    labels = np.zeros(values.shape, np.uint8)
    labels[inside] = table[found.astype(np.intp)]
    remarks = [Remark("value", f"{value} (resection cavity)") for value in held if numbering[value] is None]
    if (numbering is _NOT_TOLD or numbering is _OWN) and 3 in held:
        remarks.append(Remark("guess", "label 3 read as enhancing tumour, as in BraTS since 2023"))
    if numbering is _CHILDREN and held:
        remarks.append(Remark("guess", "labels of BraTS-PED read as in 2024: enhancing, non-enhancing, cyst, oedema"))
    return labels, tuple(remarks)
