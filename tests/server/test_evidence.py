"""What several trials say together claims no more than they do: one alone has no spread, no interval is lent."""

import pytest
from classifier_scores import between, classifier_scores

from common.metrics.bootstrap import Estimate
from common.results.classifier import TrialResult
from server.evidence import pooled_gains, repeated

NOTHING = Estimate(value=None)


def trial(gain: Estimate, *, fold: int = 0, run: int = 1, accuracy: float = 0.8) -> TrialResult:
    scores = classifier_scores(
        accuracy=between(accuracy, 0.7, 0.9),
        accuracy_gain=gain,
        auc_gain=NOTHING,
    )
    arms = {"federated": {"blob": scores}}
    left_out = arms if fold else {}
    return TrialResult(
        name=f"{run}-{fold}", images="", run=run, fold=fold, patients=0, ratio=0.0, arms=arms, left_out=left_out
    )


def test_a_gain_over_folds_has_an_interval_only_if_each_of_them_has_one() -> None:
    known, other, unknown = between(0.1, 0.0, 0.2), between(0.3, 0.1, 0.5), 0.3
    (gain,) = pooled_gains([trial(known, fold=1), trial(other, fold=2)])
    assert (gain.accuracy.value, gain.accuracy.low, gain.accuracy.high) == pytest.approx((0.2, 0.05, 0.35))
    (gain,) = pooled_gains([trial(known, fold=1), trial(Estimate(value=unknown), fold=2)])
    assert (gain.accuracy.value, gain.accuracy.low, gain.accuracy.high) == (pytest.approx(0.2), None, None)
    assert gain.trials == 2
    (gain,) = pooled_gains([trial(Estimate(value=unknown))])
    assert gain.accuracy.low is None
    assert gain.gain("auc") is None


@pytest.mark.parametrize("fold", [0, 1])
def test_one_run_or_one_fold_has_no_spread(fold: int) -> None:
    known = between(0.1, 0.0, 0.2)
    (one,) = repeated([trial(known, fold=fold)])
    assert (one.figures["accuracy"].mean, one.figures["accuracy"].deviation, one.figures["accuracy"].n) == (
        0.8,
        None,
        1,
    )
    (gain,) = pooled_gains([trial(known, fold=fold)])
    assert (gain.spreads["accuracy"].deviation, gain.spreads["accuracy"].n) == (None, 1)
    more = {"fold": 2} if fold else {"run": 2}
    (two,) = repeated([trial(known, fold=fold), trial(known, accuracy=0.6, **more)])
    assert two.figures["accuracy"].deviation == pytest.approx(0.02**0.5)
    assert two.figures["accuracy"].n == 2
