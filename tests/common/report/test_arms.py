"""The words for two intervals never say more than the intervals do."""

import pytest

from common.report.arms import arm_rows, arms_charts, arms_table, compared, confusion_tables, in_order, verdict
from common.results import ArmScores, Confusion, Interval


def scores(mean: float | None, half: float | None = 0.05) -> ArmScores:
    bounds = {} if mean is None or half is None else {"low": mean - half, "high": mean + half}
    interval = Interval(mean=mean, **bounds)
    return ArmScores(accuracy=interval, precision=interval, recall=interval, f1=interval, auc=interval, patients=20)


@pytest.mark.parametrize(
    ("one", "other", "word"),
    [
        (scores(0.9), scores(0.7), "higher"),
        (scores(0.7), scores(0.9), "lower"),
        (scores(0.8), scores(0.85), "no difference shown"),
        (scores(0.8, None), scores(0.85), "not comparable"),
        (scores(None), scores(0.85), "not comparable"),
    ],
)
def test_intervals_that_share_a_value_show_no_difference(one: ArmScores, other: ArmScores, word: str) -> None:
    assert compared(one.accuracy, other.accuracy) == word


def test_a_verdict_names_every_other_arm_once() -> None:
    arms = {
        "blob": scores(0.9),
        "copy_paste": scores(0.8, None),
        "synthetic": scores(0.71),
        "real_synthetic": scores(0.7),
        "real": scores(0.5),
    }
    assert verdict(arms) == (
        "higher than real only; lower than real + blob; not shown to differ from synthetic only, whose interval "
        "overlaps; without intervals to compare with real + copy-paste"
    )
    assert verdict(arms, against=("blob",)) == "lower than real + blob"
    assert verdict({"real_synthetic": scores(0.7)}) == ""


def test_arms_stand_in_the_order_of_the_design() -> None:
    arms = {"zebra": scores(0.5), "blob": scores(0.5), "real": scores(0.5)}
    assert [arm for arm, _ in in_order(arms)] == ["real", "blob", "zebra"]
    assert [row[0].text for row in arms_table("", arms).rows] == ["real only", "real + blob", "zebra"]


def test_panels_of_one_measure_share_their_axis() -> None:
    accuracy, auc = arms_charts({"federated": {"real": scores(0.8)}, "a": {"real": scores(0.3)}, "b": {}})
    assert [panel.title for panel in accuracy.panels] == ["in federation", "a"]
    ticks = [str(panel.svg).count('text-anchor="middle"') for panel in auc.panels]
    assert ticks[0] == ticks[1] > 2


def test_only_known_confusion_matrices_are_shown() -> None:
    known = Confusion(true_positive=1, false_positive=2, true_negative=3, false_negative=4)
    arms = {"real": scores(0.5).model_copy(update={"confusion": known}), "blob": scores(0.5)}
    assert [table.confusion for table in confusion_tables(arms)] == [known]
    rows = arm_rows({"a": arms})
    assert rows[0]["false_negative"] == 4
    assert "false_negative" not in rows[1]
