"""What each value of a mask is, by the names that the hospital lists: tumour, organ, something else, or not known."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from common.errors import ConfigError
from common.imaging.patterns import matched
from common.imaging.readers.nnunet_dataset import DATASET_FILE, Description, listed
from common.imaging.remarks import Question, Remark

OPTIONS = ("tumour_labels", "organ_labels", "other_labels")
_PARTS: Mapping[str, int] = {
    r"non.?enhanc|necro": 1,
    r"enhanc|\bet\b": 4,
    r"o?edema|snfh|infiltra|whole|\bed\b": 2,
}
"""Names of parts of a brain's tumour -> label as in BraTS 2021; any other name is 1."""


@dataclass(frozen=True)
class LabelNames:
    """The names, patterns or numbers of labels that a hospital lists.

    Attributes:
        tumour: those of tumours.
        organ: those of the organ itself; None for its own name, where there is a label of that.
        other: those of what is neither.
    """

    tumour: tuple[str, ...]
    organ: tuple[str, ...] | None
    other: tuple[str, ...]

    def check(self, description: Description) -> None:
        """Refuses what does not fit the data set.

        Raises:
            ConfigError: if no tumour is named, or a name is no label of ``dataset.json``.
        """
        held = listed(description.labels)
        if not self.tumour:
            raise ConfigError(
                f"reader nnunet: say in options.tumour_labels which labels are tumours, e.g. tumour_labels: [cancer]; "
                f"{DATASET_FILE} names {held}"
            )
        for option, names in zip(OPTIONS, (self.tumour, self.organ or (), self.other), strict=True):
            for name in names:
                if not name.isdecimal() and not any(matched([name], one) for one in description.labels):
                    raise ConfigError(
                        f"reader nnunet: {option}: {name!r} is no label of {DATASET_FILE}, which names {held}"
                    )
        twice = {one.casefold() for one in self.tumour} & {one.casefold() for one in (*(self.organ or ()), *self.other)}
        if twice:
            raise ConfigError(
                f"reader nnunet: {listed(sorted(twice))} stands in tumour_labels and in another list; keep one"
            )


@dataclass(frozen=True)
class Outlined:
    """One mask by what its values are.

    Attributes:
        labels: (Z, Y, X) uint8 with ``patient.LESION_LABELS``.
        organ: (Z, Y, X) uint8, 1 in the organ, tumours included; None where it is not outlined.
        organ_expected: whether the data set has a label of the organ.
        remarks, questions: as a patient has them.
    """

    labels: npt.NDArray[np.uint8]
    organ: npt.NDArray[np.uint8] | None
    organ_expected: bool
    remarks: tuple[Remark, ...]
    questions: tuple[Question, ...]


def outlined(values: npt.NDArray[np.integer], description: Description, names: LabelNames, organ: str) -> Outlined:
    """A mask's values (Z, Y, X) sorted into tumour, organ and the rest."""
    organ_names = (organ, f"{organ}s") if names.organ is None else names.organ
    held = [int(value) for value in np.unique(values) if value]
    labels = np.zeros(values.shape, np.uint8)
    inside = np.zeros(values.shape, bool)
    other, unknown = [], []
    for value in held:
        called = description.names_of(value)
        if _is(names.tumour, called, value):
            labels[values == value] = _part(called[0]) if organ == "brain" else 1
            continue
        in_organ = _is(organ_names, called, value)
        if in_organ:
            inside |= values == value
        if _is(names.other, called, value):
            other.append(called[0])
        elif not in_organ:
            unknown.append(called[0])
    asked = () if labels.any() else tuple(Question(name, (OPTIONS[0], OPTIONS[2])) for name in unknown)
    told = other if asked else [*other, *unknown]
    return Outlined(
        labels,
        (inside | (labels > 0)).astype(np.uint8) if inside.any() else None,
        any(_is(organ_names, (name,), -1) for name in description.labels),
        tuple(Remark("value", name) for name in dict.fromkeys(told)),
        tuple(dict.fromkeys(asked)),
    )


def _is(names: Iterable[str], called: tuple[str, ...], value: int) -> bool:
    some = tuple(names)
    return str(value) in some or any(matched(some, name) for name in called)


def _part(name: str) -> int:
    return next((label for pattern, label in _PARTS.items() if re.search(pattern, name, re.IGNORECASE)), 1)
