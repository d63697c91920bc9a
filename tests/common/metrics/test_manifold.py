import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from common.metrics.manifold import ManifoldScores, manifold_scores


def features(n: int, d: int, seed: int, scale: float = 1.0, shift: float = 0.0) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed)) * scale + shift


def by_scikit_learn(real: torch.Tensor, synthetic: torch.Tensor, k: int) -> ManifoldScores:
    """Counted ball by ball."""
    a, b = real.double().numpy(), synthetic.double().numpy()

    def balls(rows: np.ndarray) -> list[tuple[np.ndarray, float]]:
        distance, _ = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(rows).kneighbors()
        return list(zip(rows, distance[:, -1], strict=True))

    def holding(point: np.ndarray, among: list[tuple[np.ndarray, float]]) -> int:
        return sum(np.linalg.norm(point - centre) < radius for centre, radius in among)

    in_real = [holding(point, balls(a)) for point in b]
    in_synthetic = [holding(point, balls(b)) for point in a]
    return ManifoldScores(
        precision=float(np.mean(np.array(in_real) > 0)),
        recall=float(np.mean(np.array(in_synthetic) > 0)),
        density=float(np.mean(in_real) / k),
        coverage=float(np.mean([np.linalg.norm(b - centre, axis=1).min() < radius for centre, radius in balls(a)])),
    )


@pytest.mark.parametrize(
    ("n", "m", "k", "scale", "shift"),
    [(40, 40, 5, 1, 0), (30, 45, 3, 0.6, 0.3), (45, 30, 1, 1.4, 0.0), (8, 7, 6, 1, 1)],
)
def test_the_four_scores_equal_scikit_learns_neighbours(n, m, k, scale, shift):
    real, synthetic = features(n, 6, 1), features(m, 6, 2, scale, shift)
    ours, expected = manifold_scores(real, synthetic, k), by_scikit_learn(real, synthetic, k)
    assert vars(ours) == pytest.approx(vars(expected), abs=1e-12)
    assert expected.precision > 0


def test_the_four_scores_equal_their_authors_package():
    prdc = pytest.importorskip("prdc")
    real, synthetic = features(120, 32, 1), features(100, 32, 2, scale=0.9, shift=0.2)
    expected = prdc.compute_prdc(real.double().numpy(), synthetic.double().numpy(), nearest_k=5)
    assert vars(manifold_scores(real, synthetic)) == pytest.approx({k: float(v) for k, v in expected.items()})


def test_two_samples_of_one_distribution_have_density_1():
    scores = [manifold_scores(features(100, 4, 2 * s), features(100, 4, 2 * s + 1)) for s in range(30)]
    assert np.mean([s.density for s in scores]) == pytest.approx(1, abs=0.05)
    assert np.mean([s.coverage for s in scores]) == pytest.approx(1 - 0.5**5, abs=0.03)


def test_a_generator_that_leaves_a_half_out_loses_recall_and_coverage_but_no_precision():
    real = torch.cat([features(100, 4, 1), features(100, 4, 2, shift=20)])
    whole = manifold_scores(real, torch.cat([features(100, 4, 3), features(100, 4, 4, shift=20)]))
    half = manifold_scores(real, features(200, 4, 3))
    assert half.recall < 0.5 * whole.recall + 0.05
    assert half.coverage < 0.6
    assert half.precision > 0.8


def test_images_that_resemble_nothing_real_lose_precision_and_density():
    real = features(100, 4, 1)
    mixed = torch.cat([features(50, 4, 2), features(50, 4, 3, shift=20)])
    scores = manifold_scores(real, mixed)
    assert scores.precision < 0.51
    assert scores.density < 0.65


def test_the_same_set_is_wholly_inside_itself():
    real = features(50, 8, 1)
    scores = manifold_scores(real, real)
    assert (scores.precision, scores.recall, scores.coverage) == (1, 1, 1)
    # Its own ball, and those of the features whose k - 1 nearest it is among: k on average.
    assert scores.density == pytest.approx(1)


def test_constant_features_score_0_throughout():
    same = torch.full((10, 3), 0.1)
    assert manifold_scores(same, same) == ManifoldScores(0, 0, 0, 0)
    collapsed = manifold_scores(features(10, 3, 1), same)
    assert collapsed.recall == 0


def test_scale_and_place_of_the_features_do_not_matter():
    real, synthetic = features(40, 6, 1).double(), features(40, 6, 2, shift=0.3).double()
    assert manifold_scores(real * 1e3 + 1e4, synthetic * 1e3 + 1e4) == manifold_scores(real, synthetic)


@pytest.mark.parametrize("k", [0, 6, 9])
def test_a_neighbour_that_does_not_exist_is_refused(k):
    with pytest.raises(ValueError, match="neighbour"):
        manifold_scores(features(20, 3, 1), features(6, 3, 2), k)


@pytest.mark.parametrize(
    ("bad", "text"), [(torch.zeros(9, 4), "expected rows"), (torch.full((9, 3), torch.nan), "not finite")]
)
def test_sets_that_cannot_be_compared_are_refused(bad, text):
    with pytest.raises(ValueError, match=text):
        manifold_scores(features(9, 3, 1), bad)
