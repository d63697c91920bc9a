"""Several sites' scores as one: means, and intervals that stay within what a share can be."""

import pytest
from classifier_scores import between, classifier_scores

from common.metrics.bootstrap import NORMAL_95, Estimate
from common.results.classifier import ClassifierScores, ReliabilityBin
from common.results.study import Results
from server.pooling import pooled


def scores(mean: float, low: float, high: float) -> ClassifierScores:
    one = between(mean, low, high)
    return classifier_scores(accuracy=one, precision=one, recall=one, f1=one, auc=None)


def test_a_normal_interval_ends_where_a_share_does() -> None:
    both = pooled([scores(1.0, 0.8, 1.0), scores(0.98, 0.8, 1.0)])
    assert both["precision"].value == 0.99
    assert both["precision"].high == 1.0
    assert both["precision"].low is not None
    assert 0.8 < both["precision"].low < 0.99
    assert both.get("auc") is None


def test_what_the_coordinator_computes_can_be_read_again() -> None:
    both = pooled([scores(1.0, 0.7, 1.0), scores(0.9, 0.5, 1.0)])
    run = {"name": "study", "seed": 1, "engine": "in_process", "started": "2030-01-31T12:00:00+00:00"}
    results = Results.model_validate({"run": run, "arms": {"federated": {"real": both.model_dump()}}})
    assert Results.model_validate_json(results.model_dump_json(by_alias=True)) == results


def site(mean: float, *, further: bool = True, specificity: float = 0.9, bins: int = 10) -> ClassifierScores:
    def interval(centre: float) -> Estimate:
        return between(centre, centre - NORMAL_95 * 0.03, centre + NORMAL_95 * 0.03)

    own = classifier_scores(
        accuracy=interval(mean), precision=interval(mean), recall=interval(mean), f1=interval(mean), auc=interval(mean)
    )
    if not further:
        return own
    curve = [ReliabilityBin(predicted=0.5, positive=0.4, slices=30, patients=9)]
    own.figures += [
        interval(mean - 0.1).figure("sensitivity", conditions={"specificity": specificity}),
        interval(1 - mean).figure("brier"),
        Estimate(1 - mean).figure("calibration_error", conditions={"bins": bins}),
    ]
    return own.model_copy(update={"reliability": curve})


def test_further_scores_are_means_over_sites_with_the_error_of_a_mean() -> None:
    both = pooled([site(0.7), site(0.9)])
    assert both["sensitivity"].value == pytest.approx(0.7)
    assert both["sensitivity"].high - both["sensitivity"].value == pytest.approx(NORMAL_95 * 0.03 / 2**0.5)
    assert both["sensitivity"].conditions == {"specificity": 0.9}
    assert both["brier"].value == pytest.approx(0.2)
    assert both["calibration_error"].value == pytest.approx(0.2)
    # There is no curve over all sites.
    assert both.reliability is None


def test_sites_that_tell_less_leave_the_others_figures_as_they_are() -> None:
    mixed = pooled([site(0.7), site(0.9, further=False)])
    assert mixed["accuracy"].value == pytest.approx(0.8)
    assert mixed["sensitivity"].value == pytest.approx(0.6)
    none = pooled([site(0.7, further=False)])
    assert [none.get(key) for key in ("sensitivity", "brier", "calibration_error")] == [None] * 3
    assert pooled([]).figures == []


def test_what_was_measured_differently_is_not_averaged() -> None:
    mixed = pooled([site(0.7, specificity=0.8, bins=5), site(0.9)])
    assert mixed.get("sensitivity") is mixed.get("calibration_error") is None
    assert mixed["brier"].value is not None


def test_further_shares_end_at_0_and_1_too() -> None:
    one = classifier_scores(brier=between(0.01, 0, 0.2))
    both = pooled([one, one])
    assert both["brier"].low == 0
    assert ClassifierScores.model_validate_json(both.model_dump_json()) == both
