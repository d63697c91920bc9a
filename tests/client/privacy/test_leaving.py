"""What may leave a site of a classifier's scores: listed metrics on enough patients, no count that is not declared."""

import json
from typing import Any

import pytest

from client.privacy.leaving import CONDITIONS, Rules, leaving
from common.figures.figure import REAL_ONLY, Figure
from common.figures.registry import METRICS
from common.metrics.bootstrap import Estimate
from common.metrics.classification import classification_scores, decisive_patients
from common.results.classifier import ClassifierScores, SiteArms, ToldScores

OPEN = Rules(min_cell=5, counts=True)
CLOSED = Rules(min_cell=5, counts=False)
HALF = Estimate(0.5, 0.4, 0.6, 0.05)
MARK = 987_654
"""A count that must be found nowhere."""


def every_figure(patients: int, n: int = 30) -> list[Figure]:
    """One of each metric, with everything that a figure can hold."""
    return [
        HALF.figure(
            key,
            n=n,
            patients=patients,
            left_out=n,
            references={"real": 0.3},
            conditions={"specificity": 0.9, "bins": 10, "reach": 4, "real": n, "synthetic": n, "name": "case-0017"},
        )
        for key in METRICS
        if METRICS[key].holds(0.5)
    ]


def scores(patients: int, figures: list[Figure], **more: Any) -> ClassifierScores:
    return ClassifierScores(figures=figures, patients=patients, slices=10 * patients, **more)


def test_only_listed_metrics_leave_and_a_new_one_stays_until_it_is_listed() -> None:
    told = leaving(scores(8, every_figure(8)), OPEN)
    listed = {key for key, metric in METRICS.items() if metric.leaves}
    assert {one.metric for one in told.figures} == listed
    assert listed <= {key for key, metric in METRICS.items() if metric.kind == "classifier"}
    # How well synthetic slices can be told from real ones is for the site's own report.
    assert "two_sample" not in listed


def test_nothing_rests_on_fewer_patients_than_the_smallest_cell() -> None:
    enough, few = HALF.figure("attention", patients=5), HALF.figure("called_tumour", "refilled", patients=4)
    assert leaving(scores(20, [enough, few]), OPEN).figures == [enough]
    below = leaving(scores(4, every_figure(4), steps=7), OPEN)
    assert below == ToldScores(figures=[], steps=7)


def test_a_figure_that_does_not_say_what_it_rests_on_stays() -> None:
    assert leaving(scores(20, [HALF.figure("auc")]), OPEN).figures == []
    assert leaving(ClassifierScores(figures=[HALF.figure("auc", patients=9)]), OPEN).figures == []


def test_counts_leave_only_if_they_are_declared() -> None:
    owner = [i // 4 for i in range(24)]
    truth, probability = [1, 0, 1, 0] * 6, [((7 * i) % 24) / 24 for i in range(24)]
    full = classification_scores(truth, probability, owner, samples=50, seed=1, min_cell=5)
    full.figures.append(HALF.figure("attention", n=MARK, patients=6, left_out=MARK))
    declared = leaving(full, OPEN)
    assert (declared.patients, declared.slices) == (6, 24)
    assert declared.confusion == full.confusion
    assert declared["attention"].n == MARK
    told = leaving(full, CLOSED)
    text = told.model_dump_json()
    assert str(MARK) not in text
    assert (told.patients, told.slices, told.confusion, told.reliability, told.withheld) == (None,) * 4 + (0,)
    assert {(one.n, one.patients, one.left_out) for one in told.figures} == {(None, None, None)}
    assert told["accuracy"].low == full["accuracy"].low is not None


def test_no_condition_leaves_that_depends_on_a_patient() -> None:
    told = leaving(scores(8, every_figure(8, MARK)), CLOSED)
    assert {key for one in told.figures for key in one.conditions} == set(CONDITIONS)
    assert all(one.references == {} for one in told.figures)
    text = told.model_dump_json()
    assert "case-0017" not in text
    assert str(MARK) not in text


def test_who_chooses_the_classifier_learns_nothing_of_one_patient() -> None:
    """It calls the slices of one patient alone: precision would be that patient's own."""
    truth, owner = [i % 2 for i in range(40)], [i // 4 for i in range(40)]
    probability = [0.9 if one == 3 else 0.1 for one in owner]
    full = classification_scores(truth, probability, owner, samples=50, seed=1, min_cell=5)
    decisive = decisive_patients(truth, probability, owner)
    guarded = leaving(full, Rules(min_cell=5, counts=False, decisive=decisive))
    assert guarded.get("precision") is guarded.get("f1") is None
    assert guarded["recall"].value == full["recall"].value
    assert leaving(full, CLOSED)["precision"].value == 0.5


def test_a_gain_is_held_to_the_patients_that_decide_its_metric() -> None:
    gain = HALF.figure("auc", "", REAL_ONLY, patients=20)
    assert leaving(scores(20, [gain]), Rules(5, counts=True, decisive={"auc": 4})).figures == []
    assert leaving(scores(20, [gain]), Rules(5, counts=True, decisive={"auc": 5})).figures == [gain]


def test_nothing_leaves_of_a_classifier_that_was_trained_here_in_a_private_study() -> None:
    told = leaving(scores(20, every_figure(20), steps=7), Rules(5, counts=True, nothing=True))
    assert told == ToldScores(figures=[])


def test_what_leaves_is_what_the_coordinator_takes() -> None:
    told = leaving(scores(8, every_figure(8)), OPEN)
    read = SiteArms.model_validate_json(json.dumps({"arms": {"real": told.model_dump()}}))
    assert read.arms["real"] == told
    with pytest.raises(ValueError, match="no site tells"):
        ToldScores(figures=every_figure(8))
