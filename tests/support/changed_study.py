"""Changes to a fabricated study: another gain, another test, a statement of privacy."""

from common.figures.figure import REAL_ONLY
from common.metrics.bootstrap import Estimate
from common.results.classifier import PooledGain
from common.results.privacy import PrivacyResults, PrivacyStatement
from common.results.statistics import Holm
from common.results.study import Results

Gain = tuple[float, float, float]
"""Mean, low and high."""


def set_gain(results: Results, scope: str, arm: str, gain: Gain | None) -> None:
    results.gains = [one for one in results.gains if (one.scope, one.arm) != (scope, arm)]
    if gain is not None:
        over = [Estimate(*gain).figure(metric, "", REAL_ONLY) for metric in ("accuracy", "auc")]
        results.gains.append(PooledGain(scope=scope, arm=arm, figures=over, spreads={}, trials=6))


def set_test(results: Results, against: str, mean: float, p: float, adjusted: float) -> None:
    for table in results.comparisons["federated"]:
        for index, one in enumerate(table.comparisons):
            if table.score == "accuracy" and (one.arm, one.against) == ("real_synthetic", against):
                corrected = one.corrected.model_copy(update={"mean": mean, "p": p})
                table.comparisons[index] = one.model_copy(
                    update={"corrected": corrected, "corrected_holm": Holm(p=adjusted, family=11)}
                )


def private(own: Results) -> None:
    statement = PrivacyStatement(
        delta=1e-5,
        patients=200,
        max_grad_norm=1.0,
        mechanisms=[],
        models={"wgan_gp": 3.17},
        epsilon=3.17,
        epsilon_rdp=3.52,
    )
    own.privacy = PrivacyResults(sites={"hospital1": statement}, audit=[], refusals=[], silent={})
