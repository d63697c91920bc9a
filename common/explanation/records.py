"""The figures of an explanation as records: kept at the site in full, and the part of them that may leave."""

from typing import TypeVar

from pydantic import BaseModel, ConfigDict

from common.results import Interval


class ExplanationPart(BaseModel):
    """Base of the parts; counts are None where they are not declared."""

    model_config = ConfigDict(extra="ignore")

    patients: int | None


Part = TypeVar("Part", bound=ExplanationPart)


class AttentionRecord(ExplanationPart):
    """:class:`~common.explanation.grad_cam.AttentionScores`."""

    share: Interval
    chance: Interval
    difference: Interval
    slices: int | None
    blank: int | None
    reach: int


class SeparabilityRecord(ExplanationPart):
    """:class:`~common.explanation.embedding.Separability`."""

    balanced_accuracy: Interval
    real: int | None
    synthetic: int | None


class ShortcutRecord(ExplanationPart):
    """:class:`~common.explanation.shortcut.Shortcut`."""

    untouched: Interval
    refilled: Interval
    difference: Interval
    slices: int | None


class ExplanationRecord(BaseModel):
    """Everything that is known of one classifier.

    Attributes:
        attention: of test slices with a lesion; None without any.
        told_apart: ``tumour`` and ``healthy``, real against synthetic; empty without synthetic slices.
        shortcut: None where no slice could be filled again.
    """

    model_config = ConfigDict(extra="ignore")

    attention: AttentionRecord | None = None
    told_apart: dict[str, SeparabilityRecord] = {}
    shortcut: ShortcutRecord | None = None

    def leaving(self, min_cell: int, *, counts: bool) -> "ExplanationRecord":
        """The part that may leave a site: nothing that rests on fewer than ``min_cell`` patients.

        Args:
            min_cell: fewest patients behind a figure.
            counts: whether the site declares how many patients and slices it has.
        """

        def enough(part: ExplanationPart | None) -> bool:
            return part is not None and part.patients is not None and part.patients >= min_cell

        hidden = {} if counts else dict.fromkeys(("patients", "slices", "blank", "real", "synthetic"))
        attention, shortcut = self.attention, self.shortcut
        return ExplanationRecord(
            attention=_without(attention, hidden) if attention is not None and enough(attention) else None,
            told_apart={kind: _without(part, hidden) for kind, part in self.told_apart.items() if enough(part)},
            shortcut=_without(shortcut, hidden) if shortcut is not None and enough(shortcut) else None,
        )


def _without(part: Part, hidden: dict[str, None]) -> Part:
    return part.model_copy(update={name: value for name, value in hidden.items() if name in type(part).model_fields})
