"""From the scores of every arm, run and fold to a table of comparisons: what a study may say of its arms."""

from collections.abc import Collection, Mapping
from statistics import fmean

from common.results.statistics import Comparison, ComparisonTable
from common.study.experiment import ARMS, PLAIN_ARMS
from server.statistics.effect import standardised_difference
from server.statistics.multiplicity import holm
from server.statistics.paired import corrected_resampled_t_test, paired_t_test

REAL = "real"
RUN_FOLDS = "run-folds"

RunFold = tuple[int, int]
"""The number of a run and that of a fold in it."""

Scores = Mapping[RunFold, float | None]
"""One arm's score of each run and fold; None where it is undefined."""


def compare_arms(
    scores: Mapping[str, Scores],
    test_to_train: Mapping[RunFold, float],
    *,
    score: str,
    apart: Collection[tuple[str, str, RunFold]] = (),
) -> ComparisonTable:
    """Every comparison that the study was made for, with both tests, Holm's correction and sizes of effects.

    All comparisons of the table are one family for Holm's correction, each test in its own.

    Args:
        scores: by arm, then by run and fold; a higher score is better. A run and fold counts in a comparison where
            both arms have a score.
        test_to_train: test patients over training patients of every run and fold that has a score. Synthetic slices
            are made of the training patients and count for nothing here.
        score: what is compared, e.g. ``accuracy``.
        apart: comparisons that do not count in a run and fold, though both arms have a score: arm, other, run and fold.

    Raises:
        ValueError: if a score is not finite, or the ratio of a run and fold is missing or not positive.

    >>> accuracy = {"real": {(1, 1): 0.80, (1, 2): 0.84}, "blob": {(1, 1): 0.83, (1, 2): 0.88}}
    >>> table = compare_arms(accuracy, {(1, 1): 0.25, (1, 2): 0.25}, score="accuracy")
    >>> [(one.arm, one.against, one.corrected.n) for one in table.comparisons]
    [('blob', 'real', 2)]
    """
    told = {key for arm in scores.values() for key, value in arm.items() if value is not None}
    for run, fold in sorted(told):
        if not test_to_train.get((run, fold), 0.0) > 0.0:
            raise ValueError(f"run {run}, fold {fold} has a score, and no ratio of test to training patients")
    compared = []
    for arm, other in pairs(list(scores)):
        without = {key for one, its, key in apart if {one, its} == {arm, other}}
        compared.append(_comparison(scores, test_to_train, arm, other, without))
    plain = holm({index: one.plain.p for index, one in enumerate(compared)})
    corrected = holm({index: one.corrected.p for index, one in enumerate(compared)})
    return ComparisonTable(
        score=score,
        runs=len({run for run, _ in told}),
        folds=len({fold for _, fold in told}),
        comparisons=[
            one.model_copy(update={"plain_holm": plain[index], "corrected_holm": corrected[index]})
            for index, one in enumerate(compared)
        ],
    )


def pairs(arms: list[str]) -> list[tuple[str, str]]:
    """Which arm is compared with which: each with ``real``, then each with images of the federated generator with the
    plain baselines and with what a site's own generator makes.

    A generator is worth its trouble only if it does better than what needs none, a federation than no federation.

    >>> pairs(["real", "real_synthetic", "blob"])
    [('real_synthetic', 'real'), ('blob', 'real'), ('real_synthetic', 'blob')]
    """
    known = [arm for arm in ARMS if arm in arms] + sorted(set(arms) - set(ARMS))
    with_real = [(arm, REAL) for arm in known if arm != REAL and REAL in known]
    beaten = (*PLAIN_ARMS, "local_generator")
    made = [arm for arm in known if arm != REAL and arm not in beaten]
    return with_real + [(arm, other) for arm in made for other in beaten if other in known]


def _comparison(
    scores: Mapping[str, Scores],
    test_to_train: Mapping[RunFold, float],
    arm: str,
    against: str,
    without: Collection[RunFold],
) -> Comparison:
    asked = sorted(set(scores[arm]) | set(scores[against]))
    found = {key: (scores[arm].get(key), scores[against].get(key)) for key in asked}
    both = {
        key: (one, other)
        for key, (one, other) in found.items()
        if one is not None and other is not None and key not in without
    }
    a, b = [one for one, _ in both.values()], [other for _, other in both.values()]
    # Folds may differ by a patient. Without a fold there is no test that would use the ratio.
    ratio = fmean(test_to_train[key] for key in both) if both else 1.0
    return Comparison(
        arm=arm,
        against=against,
        left_out=len(asked) - len(both),
        plain=paired_t_test(a, b, counts=RUN_FOLDS),
        corrected=corrected_resampled_t_test(a, b, test_to_train=ratio, counts=RUN_FOLDS),
        difference=standardised_difference(a, b, counts=RUN_FOLDS),
    )
