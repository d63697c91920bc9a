"""The picture is that of scikit-learn's parts, and the figure beside it knows a planted difference from none."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from common.explanation.embedding import embed, told_apart


def clouds(shift: float, n: int = 40, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features of real and synthetic slices of ten patients; synthetic ones lie ``shift`` deviations away."""
    random = np.random.default_rng(seed)
    synthetic = np.arange(2 * n) >= n
    features = random.normal(size=(2 * n, 12))
    features[synthetic, 0] += shift
    return features, synthetic, np.arange(2 * n) % 10


def test_the_components_are_those_of_a_singular_value_decomposition() -> None:
    features = np.random.default_rng(1).normal(size=(50, 6)) * [1, 2, 3, 40, 5, 6] + 7
    features[:, 1] += features[:, 3] / 20
    found = embed(features, seed=1)
    standard = (features - features.mean(0)) / features.std(0)
    u, s, _ = np.linalg.svd(standard, full_matrices=False)
    np.testing.assert_allclose(np.abs(found.pca), np.abs(u[:, :2] * s[:2]), atol=1e-9)
    np.testing.assert_allclose(found.explained, (s**2 / (s**2).sum())[:2])
    assert found.perplexity == pytest.approx(49 / 3)


def test_two_clusters_stay_two_clusters_and_a_seed_gives_one_picture() -> None:
    features = np.random.default_rng(2).normal(size=(60, 40))
    features[30:] += 4
    found = embed(features, seed=2**60)
    distance = cdist(found.tsne, found.tsne)
    np.fill_diagonal(distance, np.inf)
    assert ((distance.argmin(1) >= 30) == (np.arange(60) >= 30)).all()
    np.testing.assert_array_equal(found.tsne, embed(features, seed=2**60).tsne)


def test_features_that_say_nothing_are_one_point() -> None:
    found = embed(np.ones((20, 5)), seed=1)
    assert not found.tsne.any()
    assert not found.pca.any()
    assert not found.explained.any()


def test_one_feature_is_enough_for_a_picture_and_seven_slices_are_not() -> None:
    assert embed(np.arange(10.0)[:, None], seed=1).pca[:, 1].tolist() == [0] * 10
    with pytest.raises(ValueError, match="at least 8"):
        embed(np.ones((7, 5)), seed=1)
    with pytest.raises(ValueError, match="not finite"):
        embed(np.full((9, 5), np.nan), seed=1)


def test_what_lies_apart_can_be_told_apart() -> None:
    features, synthetic, patient = clouds(shift=6)
    found = told_apart(features, synthetic, patient, "tumour", samples=200, seed=1, min_cell=5)
    assert found.value is not None
    assert found.value > 0.95
    assert (found.conditions, found.patients) == ({"real": 40, "synthetic": 40}, 10)


def test_what_is_alike_cannot_be_told_apart() -> None:
    shares = []
    for seed in range(8):
        features, synthetic, patient = clouds(shift=0, seed=seed)
        found = told_apart(features, synthetic, patient, "tumour", samples=50, seed=seed, min_cell=5)
        assert found.value is not None
        shares.append(found.value)
    assert 0.4 < np.mean(shares) < 0.6


def test_surroundings_of_a_patient_cannot_be_learnt_by_heart() -> None:
    """Each patient's features are its own and its slices are of one kind: only folds over patients stay at chance."""
    random = np.random.default_rng(3)
    patient = np.repeat(np.arange(40), 4)
    features = random.normal(size=(40, 60))[patient] + 0.01 * random.normal(size=(160, 60))
    found = told_apart(features, patient % 2 == 0, patient, "tumour", samples=100, seed=1, min_cell=5)
    assert found.value is not None
    assert found.value < 0.75


def test_the_balance_is_of_kinds_and_the_interval_of_patients() -> None:
    features, synthetic, patient = clouds(shift=1.5)
    kept = ~synthetic | (patient < 3)
    few = told_apart(features[kept], synthetic[kept], patient[kept], "tumour", samples=300, seed=1, min_cell=5)
    assert few.low <= few.value <= few.high
    assert few.conditions["synthetic"] == 12
    below = told_apart(features, synthetic, patient, "tumour", samples=50, seed=1, min_cell=11)
    assert below.value is not None
    assert below.low is None


def test_one_kind_alone_or_one_patient_has_no_figure() -> None:
    features, synthetic, patient = clouds(shift=0)
    alone = told_apart(features, synthetic & False, patient, "tumour", samples=50, seed=1, min_cell=5)
    assert alone.value is None
    assert told_apart(features, synthetic, 0 * patient, "tumour", samples=50, seed=1, min_cell=5).value is None
