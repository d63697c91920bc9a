"""Everything that is found out about one classifier."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from common.explanation.embedding import Separability
from common.explanation.grad_cam import AttentionScores
from common.explanation.records import AttentionRecord, ExplanationRecord, SeparabilityRecord, ShortcutRecord
from common.explanation.shortcut import Shortcut


@dataclass(frozen=True)
class Explained:
    """The figures of one classifier.

    Attributes:
        attention: on slices with a lesion; None without any.
        told_apart: ``tumour`` and ``healthy``: real against synthetic slices; empty where none were made.
        shortcut: on healthy slices; None where no slice was filled again.
    """

    attention: AttentionScores | None = None
    told_apart: Mapping[str, Separability] = field(default_factory=dict)
    shortcut: Shortcut | None = None

    def record(self) -> ExplanationRecord:
        """The same for a file or, by its ``leaving``, for a message."""
        return ExplanationRecord(
            attention=_attention(self.attention) if self.attention else None,
            told_apart={kind: _told_apart(found) for kind, found in self.told_apart.items()},
            shortcut=_shortcut(self.shortcut) if self.shortcut else None,
        )


def _attention(scores: AttentionScores) -> AttentionRecord:
    return AttentionRecord(
        share=scores.share.interval(),
        chance=scores.chance.interval(),
        difference=scores.difference.interval(),
        slices=scores.slices,
        patients=scores.patients,
        blank=scores.blank,
        reach=scores.reach,
    )


def _told_apart(found: Separability) -> SeparabilityRecord:
    return SeparabilityRecord(
        balanced_accuracy=found.balanced_accuracy.interval(),
        real=found.real,
        synthetic=found.synthetic,
        patients=found.patients,
    )


def _shortcut(found: Shortcut) -> ShortcutRecord:
    return ShortcutRecord(
        untouched=found.untouched.interval(),
        refilled=found.refilled.interval(),
        difference=found.difference.interval(),
        slices=found.slices,
        patients=found.patients,
    )
