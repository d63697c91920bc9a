"""The words for two intervals never say more than the intervals do."""

import pytest
from classifier_scores import classifier_scores, set_figure

from common.metrics.bootstrap import Estimate
from common.report.arms import (
    ARM_COLUMNS,
    arm_rows,
    arms_charts,
    arms_table,
    compared,
    confusion_rows,
    confusion_tables,
    in_order,
    verdict,
)
from common.results.classifier import ClassifierScores, Confusion


def scores(mean: float | None, half: float | None = 0.05) -> ClassifierScores:
    bounds = {} if mean is None or half is None else {"low": mean - half, "high": mean + half}
    interval = Estimate(value=mean, **bounds)
    return classifier_scores(
        accuracy=interval, precision=interval, recall=interval, f1=interval, auc=interval, patients=20
    )


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
def test_intervals_that_share_a_value_show_no_difference(
    one: ClassifierScores, other: ClassifierScores, word: str
) -> None:
    assert compared(one["accuracy"], other["accuracy"]) == word


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
    rows = confusion_rows({"a": arms})
    assert rows[0]["false_negative"] == 4
    assert "false_negative" not in rows[1]


def with_further(mean: float) -> ClassifierScores:
    own = scores(0.8)
    for name, one in (
        ("sensitivity", Estimate(mean, mean - 0.1, mean + 0.1)),
        ("brier", 0.12),
        ("calibration_error", 0.0712),
    ):
        set_figure(own, name, one)
    return own


def test_the_table_has_a_column_a_figure_and_says_at_which_specificity_and_over_how_many_bins() -> None:
    table = arms_table("", {"real": with_further(0.7), "blob": scores(0.8)})
    assert "specificity of 90.0\N{NO-BREAK SPACE}% " in table.caption
    assert "over 10 bins" in table.caption
    assert list(table.columns)[6:9] == ["sensitivity", "Brier score", "calibration error"]
    assert [cell.text for cell in table.rows[0]][6:9] == ["70.0\N{NO-BREAK SPACE}%", "0.120", "0.071"]
    assert [cell.text for cell in table.rows[1]][6:9] == ["–"] * 3
    assert "Brier score" not in arms_table("", {"blob": scores(0.8)}).columns


def test_the_spreadsheet_has_a_row_a_figure() -> None:
    rows = arm_rows({"a": {"real": with_further(0.7), "blob": scores(0.8)}})
    told = {(row["arm"], row["metric"]): row for row in rows}
    assert told["real", "sensitivity"]["value"] == 0.7
    assert told["real", "sensitivity"]["conditions"] == '{"specificity": 0.9}'
    assert told["real", "calibration_error"]["value"] == 0.0712
    assert ("blob", "sensitivity") not in told
    assert set().union(*rows) <= set(ARM_COLUMNS)
