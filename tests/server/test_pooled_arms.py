"""Several sites' scores as one: means, and intervals that stay within what a share can be."""

from common.results import ArmScores, Interval, Results
from server.arms import pooled


def scores(mean: float, low: float, high: float) -> ArmScores:
    one = Interval(mean=mean, low=low, high=high)
    return ArmScores(accuracy=one, precision=one, recall=one, f1=one, auc=Interval(mean=None))


def test_a_normal_interval_ends_where_a_share_does() -> None:
    both = pooled([scores(1.0, 0.8, 1.0), scores(0.98, 0.8, 1.0)])
    assert both.precision.mean == 0.99
    assert both.precision.high == 1.0
    assert both.precision.low is not None
    assert 0.8 < both.precision.low < 0.99
    assert both.auc == Interval(mean=None)


def test_what_the_coordinator_computes_can_be_read_again() -> None:
    both = pooled([scores(1.0, 0.7, 1.0), scores(0.9, 0.5, 1.0)])
    run = {"name": "study", "seed": 1, "engine": "in_process", "started": "2030-01-31T12:00:00+00:00"}
    results = Results.model_validate({"run": run, "arms": {"federated": {"real": both.model_dump()}}})
    assert Results.model_validate_json(results.model_dump_json(by_alias=True)) == results
