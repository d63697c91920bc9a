"""From scores to a table: which arms meet, over which folds, in which family, and what is said of it."""

import json

import numpy as np
import pytest
from scipy import stats

from common.figures.formatting import POINTS
from common.results.statistics import ComparisonTable
from server.statistics.comparison import RunFold, compare_arms
from server.statistics.multiplicity import holm
from server.statistics.sentence import comparison_told, told

KEYS: list[RunFold] = [(run, fold) for run in (1, 2, 3) for fold in (1, 2, 3, 4, 5)]
RATIOS = dict.fromkeys(KEYS, 0.25)
ARMS = ("real", "real_synthetic", "synthetic", "copy_paste", "blob")


def study(seed: int = 1) -> dict[str, dict[RunFold, float | None]]:
    random = np.random.default_rng(seed)
    return {
        arm: {key: float(0.8 + 0.02 * place + random.normal(0, 0.03)) for key in KEYS} for place, arm in enumerate(ARMS)
    }


def test_each_arm_meets_real_and_each_made_arm_the_plain_baselines() -> None:
    table = compare_arms(study(), RATIOS, score="accuracy")
    assert [(one.arm, one.against) for one in table.comparisons] == [
        ("real_synthetic", "real"),
        ("synthetic", "real"),
        ("copy_paste", "real"),
        ("blob", "real"),
        ("real_synthetic", "copy_paste"),
        ("real_synthetic", "blob"),
        ("synthetic", "copy_paste"),
        ("synthetic", "blob"),
    ]
    assert (table.runs, table.folds) == (3, 5)


def test_figures_are_those_of_the_pairs_in_order() -> None:
    scores = study()
    one = compare_arms(scores, RATIOS, score="accuracy").comparisons[0]
    a, b = ([scores[arm][key] for key in KEYS] for arm in ("real_synthetic", "real"))
    assert one.plain.p == pytest.approx(stats.ttest_rel(a, b).pvalue)
    assert one.corrected.test_to_train == pytest.approx(0.25)
    assert one.corrected.n == one.plain.n == one.difference.n == 15
    assert one.corrected.p > one.plain.p


def test_the_whole_table_is_one_family() -> None:
    table = compare_arms(study(), RATIOS, score="accuracy")
    expected = holm({index: one.corrected.p for index, one in enumerate(table.comparisons)})
    assert [one.corrected_holm for one in table.comparisons] == list(expected.values())
    assert {one.plain_holm.family for one in table.comparisons if one.plain_holm} == {8}


def test_only_folds_that_both_arms_have_count_and_the_others_are_told() -> None:
    scores = study()
    scores["blob"][(1, 1)] = None
    del scores["blob"][(2, 3)]
    by_pair = {(one.arm, one.against): one for one in compare_arms(scores, RATIOS, score="auc").comparisons}
    assert (by_pair["blob", "real"].corrected.n, by_pair["blob", "real"].left_out) == (13, 2)
    assert (by_pair["synthetic", "real"].corrected.n, by_pair["synthetic", "real"].left_out) == (15, 0)


def test_an_arm_without_scores_is_undefined_and_not_in_the_family() -> None:
    scores = study()
    scores["blob"] = {}
    table = compare_arms(scores, RATIOS, score="accuracy")
    blob = next(one for one in table.comparisons if one.arm == "blob")
    assert blob.corrected.undefined == "fewer than two run-folds"
    assert blob.corrected_holm is None
    assert {one.corrected_holm.family for one in table.comparisons if one.corrected_holm} == {5}


def test_unequal_folds_use_the_mean_of_their_ratios() -> None:
    ratios = {key: (15 - key[1]) / (40 + key[1]) for key in KEYS}
    table = compare_arms(study(), ratios, score="accuracy")
    assert table.comparisons[0].corrected.test_to_train == pytest.approx(np.mean(list(ratios.values())))


def test_a_fold_of_unknown_size_is_refused() -> None:
    with pytest.raises(ValueError, match="run 3, fold 5"):
        compare_arms(study(), {key: ratio for key, ratio in RATIOS.items() if key != (3, 5)}, score="accuracy")
    with pytest.raises(ValueError, match="run 1, fold 1"):
        compare_arms(study(), {**RATIOS, (1, 1): 0.0}, score="accuracy")


def test_a_table_goes_through_json_and_back() -> None:
    table = compare_arms(study(), RATIOS, score="accuracy")
    text = table.model_dump_json()
    assert ComparisonTable.model_validate_json(text) == table
    with pytest.raises(ValueError, match="extra"):
        ComparisonTable.model_validate({**json.loads(text), "p": 0.01})


def test_a_sentence_names_test_n_and_family() -> None:
    table = compare_arms(study(), RATIOS, score="accuracy")
    text = comparison_told(table.comparisons[0], POINTS)
    for part in (
        "real + synthetic against real only: corrected resampled t-test over 15 run-folds: +",
        "Holm over 8 comparisons",
        "; paired t-test over 15 run-folds: +",
        "d_z ",
        " over 15 run-folds",
    ):
        assert part in text


def test_a_sentence_on_nothing_says_why() -> None:
    scores = study()
    scores["blob"] = {(1, 1): 0.5}
    table = compare_arms({"real": scores["real"], "blob": scores["blob"]}, RATIOS, score="accuracy")
    text = told(table.comparisons[0].corrected, POINTS)
    assert text.startswith("corrected resampled t-test over 1 run-folds: −")
    assert text.endswith(", no p-value: fewer than two run-folds")
    empty = compare_arms({"real": scores["real"], "blob": {}}, RATIOS, score="accuracy")
    assert told(empty.comparisons[0].plain, POINTS) == (
        "paired t-test over 0 run-folds, no p-value: fewer than two run-folds"
    )
