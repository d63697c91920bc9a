"""The words for two intervals never say more than the intervals do."""

import pytest

from common.report.arms import (
    ARM_COLUMNS,
    arm_rows,
    arms_charts,
    arms_table,
    compared,
    confusion_tables,
    further_table,
    in_order,
    verdict,
)
from common.results_classifier import ArmScores, Calibration, Confusion, Interval


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


def with_further(mean: float) -> ArmScores:
    return scores(0.8).model_copy(
        update={
            "sensitivity": Interval(mean=mean, low=mean - 0.1, high=mean + 0.1),
            "specificity": 0.9,
            "brier": Interval(mean=0.12),
            "calibration": Calibration(error=0.0712, bins=10),
        }
    )


def test_further_scores_stand_in_a_table_that_says_at_which_specificity_and_over_how_many_bins() -> None:
    table = further_table({"real": with_further(0.7), "blob": scores(0.8)})
    assert table is not None
    assert "specificity of 90.0\N{NO-BREAK SPACE}% " in table.caption
    assert "over 10 bins" in table.caption
    assert [cell.text for cell in table.rows[0]] == ["real only", "70.0\N{NO-BREAK SPACE}%", "0.120", "0.071"]
    # Results from before there were any hold none.
    assert len(table.rows) == 1
    assert further_table({"blob": scores(0.8)}) is None


def test_further_scores_stand_behind_the_older_columns_of_the_spreadsheet() -> None:
    new, old = arm_rows({"a": {"real": with_further(0.7), "blob": scores(0.8)}})
    assert (new["sensitivity_mean"], new["specificity"], new["calibration_error"]) == (0.7, 0.9, 0.0712)
    assert old["sensitivity_mean"] is old["specificity"] is None
    assert set(new) | set(old) <= set(ARM_COLUMNS)
    assert ARM_COLUMNS[:3] == ["scope", "arm", "accuracy_mean"]
