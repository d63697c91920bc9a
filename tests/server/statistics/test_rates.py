"""How often the tests find what is not there, and what is: a thousand studies of 3 runs x 5 folds.

Each study draws patients, splits them as a cross-validation does, and trains and tests two nearest-centroid
classifiers on every fold, so that its scores are correlated as those of a real study are. Both classifiers see the
same four features of a patient, and each some that only it knows.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import binomtest
from sklearn.model_selection import RepeatedStratifiedKFold
from sklearn.neighbors import NearestCentroid

from server.statistics.paired import corrected_resampled_t_test, paired_t_test

Floats = npt.NDArray[np.float64]
RUNS, FOLDS = 3, 5


def drawn_folds(truth: npt.NDArray[np.bool_], seed: int) -> npt.NDArray[np.bool_]:
    """(runs x folds, patients): who is tested."""
    splits = RepeatedStratifiedKFold(n_splits=FOLDS, n_repeats=RUNS, random_state=seed)
    tested = np.zeros((RUNS * FOLDS, len(truth)), dtype=bool)
    for row, (_, test) in zip(tested, splits.split(truth, truth), strict=True):
        row[test] = True
    return tested


def accuracies(features: Floats, truth: npt.NDArray[np.bool_], tested: npt.NDArray[np.bool_]) -> Floats:
    """(studies, runs x folds) of nearest-centroid classifiers, from features (studies, patients, D)."""

    def centroids(chosen: npt.NDArray[np.bool_]) -> Floats:
        sums = np.einsum("fp,spd->sfd", chosen.astype(float), features, optimize=True)
        return sums / chosen.sum(axis=1)[None, :, None]

    positive, negative = centroids(~tested & truth), centroids(~tested & ~truth)
    direction, middle = positive - negative, (positive + negative) / 2
    side = np.einsum("sfd,spd->sfp", direction, features, optimize=True) - (direction * middle).sum(-1)[..., None]
    right = (side > 0) == truth
    return (right & tested).sum(-1) / tested.sum(-1)


def two_arms(studies: int, patients: int, own: tuple[float, float], seed: int) -> tuple[Floats, Floats]:
    """Accuracies of two arms whose own four features separate the classes by 2 x ``own`` standard deviations each."""
    random = np.random.default_rng(seed)
    truth = np.tile([False, True], patients // 2)
    tested = drawn_folds(truth, seed)

    def drawn(signal: float) -> Floats:
        return random.normal(size=(studies, patients, 4)) + signal * np.where(truth, 1, -1)[:, None]

    shared = drawn(0.3)
    first, second = (np.concatenate([shared, drawn(signal)], axis=-1) for signal in own)
    return accuracies(first, truth, tested), accuracies(second, truth, tested)


def by_paired(a: Floats, b: Floats) -> float | None:
    return paired_t_test(list(a), list(b), counts="run-folds").p


def by_corrected(a: Floats, b: Floats) -> float | None:
    return corrected_resampled_t_test(list(a), list(b), test_to_train=1 / 4, counts="run-folds").p


def found(test: Callable[[Floats, Floats], float | None], a: Floats, b: Floats) -> int:
    """In how many studies the test finds a difference at the level 0.05."""
    probabilities = [test(one, other) for one, other in zip(a, b, strict=True)]
    return sum(p is not None and p < 0.05 for p in probabilities)


def test_the_simulated_classifier_is_scikit_learns() -> None:
    random = np.random.default_rng(2)
    truth = np.tile([False, True], 20)
    features = random.normal(size=(1, 40, 3)) + truth[:, None]
    tested = drawn_folds(truth, seed=2)
    own = accuracies(features, truth, tested)[0]
    for score, test in zip(own, tested, strict=True):
        model = NearestCentroid().fit(features[0][~test], truth[~test])
        assert score == pytest.approx(model.score(features[0][test], truth[test]))


def test_the_corrected_test_keeps_its_level_where_the_plain_one_does_not() -> None:
    a, b = two_arms(1000, 60, own=(0.3, 0.3), seed=1)
    corrected = binomtest(found(by_corrected, a, b), 1000).proportion_ci(0.95)
    plain = binomtest(found(by_paired, a, b), 1000).proportion_ci(0.95)
    # 25 of 1000 studies of two equal arms, 1.6 to 3.7 %, against 288, 26.0 to 31.7 %.
    assert corrected.high <= 0.05
    assert plain.low > 0.2


def test_the_level_holds_for_scores_with_exactly_the_correlation_that_it_assumes() -> None:
    random = np.random.default_rng(3)
    n = RUNS * FOLDS
    correlation = 1 / FOLDS  # n_test / n
    differences = np.sqrt(correlation) * random.normal(size=(1000, 1)) + np.sqrt(1 - correlation) * random.normal(
        size=(1000, n)
    )
    count = found(by_corrected, differences, np.zeros_like(differences))
    # 57 of 1000; 5 % are to be expected: the interval of the count must hold it, and the plain test's not.
    assert binomtest(count, 1000, 0.05).pvalue > 0.01
    assert found(by_paired, differences, np.zeros_like(differences)) > 300


def test_a_benefit_of_twelve_points_in_200_patients_is_found() -> None:
    a, b = two_arms(300, 200, own=(0.4, 0.0), seed=1)
    assert 0.11 < (a - b).mean() < 0.13
    power = found(by_corrected, a, b) / 300  # 0.88
    assert power > 0.8
    # And always in the right direction.
    tests = [
        corrected_resampled_t_test(list(x), list(y), test_to_train=1 / 4, counts="f") for x, y in zip(a, b, strict=True)
    ]
    assert all(test.mean is not None and test.mean > 0 for test in tests if test.p is not None and test.p < 0.05)
