"""What the outlines of a study say: where the tumour and the organ are, and what nobody has said a word of."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from common.errors import BadStudyError, ConfigError
from common.imaging.dicom.masks import Masks
from common.imaging.dicom.outlines import plain_pattern
from common.imaging.patterns import matched
from common.imaging.remarks import Question, Remark

Mask = npt.NDArray[np.bool_]
Meaning = Literal["tumour_segments", "organ_segments", "other_segments"]

MEANINGS: tuple[Meaning, ...] = ("tumour_segments", "organ_segments", "other_segments")
"""The options that say what an outline is; of patterns that fit one name, the first of these counts."""


@dataclass(frozen=True)
class OutlineNames:
    """A hospital's lists of names, as its options give them.

    ``*`` in a name stands for any text; case and spaces around it say nothing. A name that is written out goes before
    one with ``*``; among those with ``*`` tumours go before organs, and these before others.

    Args:
        reader: for errors.
        tumour_segments, organ_segments, other_segments: names of outlines that are tumours, the organ itself, and
            neither.
        empty_segments: names of tumours of which an outline that is drawn on no slice says that there is none.

    Raises:
        ConfigError: one is no list of texts, there is no name of a tumour, or one name stands in two lists of another
            meaning.
    """

    reader: str
    tumour_segments: tuple[str, ...]
    organ_segments: tuple[str, ...] = ()
    other_segments: tuple[str, ...] = ()
    empty_segments: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for option in (*MEANINGS, "empty_segments"):
            names = getattr(self, option)
            if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
                example = f"{option}: [{_EXAMPLES[option]}]"
                raise ConfigError(f"reader {self.reader}: {option} is a list of names, each a text, e.g. {example}")
            object.__setattr__(self, option, tuple(dict.fromkeys(map(plain_pattern, names))))
        if not self.tumour_segments:
            raise ConfigError(
                f"reader {self.reader}: list the names of tumours in your outlines, e.g. tumour_segments: [GTV]"
            )
        for one, other in zip((0, 0, 1), (1, 2, 2), strict=True):
            twice = sorted(set(getattr(self, MEANINGS[one])) & set(getattr(self, MEANINGS[other])))
            if twice:
                raise ConfigError(
                    f"reader {self.reader}: {', '.join(twice)} stands in {MEANINGS[one]} and in {MEANINGS[other]}; "
                    "keep it in one of them"
                )

    def meanings(self, name: str) -> tuple[Meaning, ...]:
        """The lists that name an outline, the one that counts first; none if nobody has said what it is.

        >>> names = OutlineNames("dicom", ("gtv*",), ("liver",), ("*",))
        >>> names.meanings("gtv 1"), names.meanings("liver")
        (('tumour_segments', 'other_segments'), ('organ_segments',))
        """
        for option in MEANINGS:
            if name in getattr(self, option):
                return (option,)
        return tuple(option for option in MEANINGS if matched(getattr(self, option), name))

    def meaning(self, name: str) -> Meaning | None:
        """What an outline is; None if nobody has said so."""
        return next(iter(self.meanings(name)), None)

    def is_drawn(self, name: str) -> bool:
        """Whether the mask of an outline of this name is needed."""
        return self.meaning(name) in ("tumour_segments", "organ_segments")

    def may_be_empty(self, name: str) -> bool:
        """Whether an outline of this name that is drawn on no slice says that there is no tumour."""
        return matched(self.empty_segments, name) is not None


_EXAMPLES = {
    "tumour_segments": "GTV",
    "organ_segments": "liver",
    "other_segments": "cord",
    "empty_segments": "GTV",
}

_NO_ORGAN = "{}, of which nothing is drawn that can be used, taken as not outlined"


@dataclass(frozen=True)
class Outlined:
    """What is known of a study from its outlines.

    Attributes:
        tumour: (Z, Y, X); all False where there is none, or where a question is open.
        organ: (Z, Y, X), its tumours included; None where it is not outlined.
        remarks, questions: as :class:`common.imaging.patient.Patient` has them.
    """

    tumour: Mask
    organ: Mask | None
    remarks: tuple[Remark, ...]
    questions: tuple[Question, ...]


def weigh(files: Sequence[tuple[str, Masks]], names: OutlineNames, shape: tuple[int, ...]) -> Outlined:
    """The outlines of one study by their meaning.

    Args:
        files: (name, what it outlines) of each file of outlines, at least one.
        shape: (Z, Y, X) of the volume.

    Raises:
        BadStudyError: nothing that is drawn of a tumour can be used, or there is neither a tumour nor the organ.
    """
    by_meaning: dict[Meaning | None, list[str]] = {option: [] for option in (*MEANINGS, None)}
    for name in sorted({name for _, masks in files for name in masks.names}):
        by_meaning[names.meaning(name)].append(name)
    remarks = [remark for _, masks in files for remark in masks.outlines.remarks]
    for name, reason in [pair for _, masks in files for pair in masks.outlines.unusable.items()]:
        if name in by_meaning["tumour_segments"]:
            raise BadStudyError(
                f"{reason}; store them as closed contours on these images, or take {name} out of tumour_segments if it "
                "is no tumour"
            )
    drawn = {
        name: mask
        for option in ("tumour_segments", "organ_segments")
        for name in by_meaning[option]
        if (mask := _joined([masks.by_name[name] for _, masks in files if name in masks.by_name], shape)).any()
    }
    tumour = _joined([drawn[name] for name in by_meaning["tumour_segments"] if name in drawn], shape)
    has_tumour = bool(tumour.any())
    questions = []
    for name in by_meaning[None]:
        if has_tumour:
            remarks.append(Remark("outline", name))
        else:
            questions.append(Question(name, ("tumour_segments", "other_segments")))
    declared = False
    for name in by_meaning["tumour_segments"]:
        if name in drawn:
            continue
        if names.may_be_empty(name):
            declared = True
        elif has_tumour:
            remarks.append(Remark("guess", f"{name}, drawn on no slice, taken as no tumour beside another"))
        else:
            questions.append(Question(name, ("empty_segments",)))
    organs = [name for name in by_meaning["organ_segments"] if name in drawn]
    remarks += [Remark("guess", _NO_ORGAN.format(name)) for name in by_meaning["organ_segments"] if name not in drawn]
    for name in [name for some in by_meaning.values() for name in some]:
        several = names.meanings(name)
        if len(several) > 1:
            remarks.append(Remark("guess", f"{name} fits {' and '.join(several)}, taken as of {several[0]}"))
    if not (has_tumour or organs or declared or questions):
        held = ", ".join(name for some in by_meaning.values() for name in some) or "nothing"
        why = "".join(f" ({reason})" for _, masks in files for reason in masks.outlines.unusable.values())
        raise BadStudyError(
            f"{files[0][0]}: outlines {held}, neither a tumour nor the organ{why}, so that nothing says whether there "
            "is a tumour; if one of these is the organ, name it in organ_segments"
        )
    organ = _joined([drawn[name] for name in organs], shape) | tumour if organs else None
    unique = tuple(dict.fromkeys(sorted(remarks, key=lambda remark: (remark.kind, remark.what))))
    return Outlined(tumour, organ, unique, tuple(questions))


def _joined(masks: Sequence[Mask], shape: tuple[int, ...]) -> Mask:
    union = np.zeros(shape, np.bool_)
    for mask in masks:
        union |= mask
    return union
