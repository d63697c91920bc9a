"""What several trials say together claims no more than they do: one alone has no spread, no interval is lent."""

import pytest

from common.results_classifier import ArmScores, Interval, TrialResult
from server.evidence import pooled_gains, repeated

NOTHING = Interval(mean=None)


def trial(gain: Interval, *, fold: int = 0, run: int = 1, accuracy: float = 0.8) -> TrialResult:
    scores = ArmScores(
        accuracy=Interval(mean=accuracy, low=0.7, high=0.9),
        precision=NOTHING,
        recall=NOTHING,
        f1=NOTHING,
        auc=NOTHING,
        accuracy_gain=gain,
        auc_gain=NOTHING,
    )
    arms = {"federated": {"blob": scores}}
    left_out = arms if fold else {}
    return TrialResult(
        name=f"{run}-{fold}", images="", run=run, fold=fold, patients=0, ratio=0.0, arms=arms, left_out=left_out
    )


def test_a_gain_over_folds_has_an_interval_only_if_each_of_them_has_one() -> None:
    known, other, unknown = Interval(mean=0.1, low=0.0, high=0.2), Interval(mean=0.3, low=0.1, high=0.5), 0.3
    (gain,) = pooled_gains([trial(known, fold=1), trial(other, fold=2)])
    assert gain.accuracy.model_dump() == pytest.approx({"mean": 0.2, "low": 0.05, "high": 0.35})
    (gain,) = pooled_gains([trial(known, fold=1), trial(Interval(mean=unknown), fold=2)])
    assert gain.accuracy.model_dump() == {"mean": pytest.approx(0.2), "low": None, "high": None}
    assert gain.trials == 2
    (gain,) = pooled_gains([trial(Interval(mean=unknown))])
    assert gain.accuracy.low is None
    assert gain.auc.mean is None


@pytest.mark.parametrize("fold", [0, 1])
def test_one_run_or_one_fold_has_no_spread(fold: int) -> None:
    known = Interval(mean=0.1, low=0.0, high=0.2)
    (one,) = repeated([trial(known, fold=fold)])
    assert (one.figures["accuracy"].mean, one.figures["accuracy"].deviation, one.figures["accuracy"].n) == (
        0.8,
        None,
        1,
    )
    (gain,) = pooled_gains([trial(known, fold=fold)])
    assert gain.accuracy_spread is not None
    assert (gain.accuracy_spread.deviation, gain.accuracy_spread.n) == (None, 1)
    more = {"fold": 2} if fold else {"run": 2}
    (two,) = repeated([trial(known, fold=fold), trial(known, accuracy=0.6, **more)])
    assert two.figures["accuracy"].deviation == pytest.approx(0.02**0.5)
    assert two.figures["accuracy"].n == 2
