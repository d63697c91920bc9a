"""Changes to a fabricated study: another gain, another test, a statement of privacy."""

from common.results import Results
from common.results_classifier import Interval, PooledGain
from common.results_privacy import PrivacyResults, PrivacyStatement
from common.statistics.records import Holm

Gain = tuple[float, float, float]
"""Mean, low and high."""


def set_gain(results: Results, scope: str, arm: str, gain: Gain | None) -> None:
    results.gains = [one for one in results.gains if (one.scope, one.arm) != (scope, arm)]
    if gain is not None:
        interval = Interval(mean=gain[0], low=gain[1], high=gain[2])
        results.gains.append(PooledGain(scope=scope, arm=arm, accuracy=interval, auc=interval, trials=6))


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
        delta=1e-5, patients=200, clip=1.0, mechanisms=[], models={"wgan_gp": 3.17}, epsilon=3.17, epsilon_rdp=3.52
    )
    own.privacy = PrivacyResults(sites={"hospital1": statement}, audit=[], refusals=[], silent={})
