"""What may leave a site rests on enough patients, and holds no count that was not declared."""

from common.explanation.embedding import Separability
from common.explanation.explained import Explained
from common.explanation.grad_cam import AttentionScores
from common.explanation.records import ExplanationRecord
from common.explanation.shortcut import Shortcut
from common.metrics.bootstrap import Estimate

HALF = Estimate(0.5, 0.4, 0.6, 0.05)


def explained(patients: int) -> Explained:
    return Explained(
        AttentionScores(HALF, HALF, Estimate(0.0), slices=30, patients=patients, blank=2, reach=4),
        {"tumour": Separability(HALF, 11, 12, patients), "healthy": Separability(Estimate(None), 1, 2, 3)},
        Shortcut(HALF, HALF, HALF, slices=40, patients=patients),
    )


def test_the_record_holds_every_figure() -> None:
    record = explained(8).record()
    assert record.attention is not None
    assert (record.attention.share.mean, record.attention.share.low, record.attention.slices) == (0.5, 0.4, 30)
    assert record.told_apart["healthy"].balanced_accuracy.mean is None
    assert record.shortcut is not None
    assert record.shortcut.patients == 8
    assert ExplanationRecord.model_validate_json(record.model_dump_json()) == record
    assert Explained().record() == ExplanationRecord()


def test_nothing_leaves_that_rests_on_too_few_patients() -> None:
    told = explained(5).record().leaving(5, counts=True)
    assert list(told.told_apart) == ["tumour"]
    assert told.attention == explained(5).record().attention
    assert explained(4).record().leaving(5, counts=True) == ExplanationRecord()


def test_counts_leave_only_if_they_are_declared() -> None:
    told = explained(8).record().leaving(5, counts=False)
    assert told.attention is not None
    assert told.attention.share.mean == 0.5
    assert told.shortcut is not None
    counts = {
        value
        for part in (told.attention, told.shortcut, *told.told_apart.values())
        for name, value in part.model_dump().items()
        if name in ("patients", "slices", "blank", "real", "synthetic")
    }
    assert counts == {None}
    assert told.leaving(5, counts=True) == ExplanationRecord()
