import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torchmetrics.image.fid import FrechetInceptionDistance

from common.metrics.frechet import Moments, disjoint_halves, frechet_distance, frechet_distance_of


def features(n: int, d: int, seed: int, scale: float = 1.0, shift: float = 0.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    spectrum = torch.arange(1, d + 1) ** -0.7
    return torch.randn(n, d, generator=generator) * spectrum * scale + shift


def by_scipy(real: torch.Tensor, synthetic: torch.Tensor) -> float:
    a, b = real.double().numpy(), synthetic.double().numpy()
    s1, s2 = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    cross = np.trace(sqrtm(s1 @ s2)).real
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(s1) + np.trace(s2) - 2 * cross)


class Given(torch.nn.Module):
    num_features = 24

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def test_moments_equal_numpys():
    values = features(50, 7, 1)
    moments = Moments.of(values)
    assert moments.n == 50
    assert moments.covariance.dtype == torch.float64
    np.testing.assert_allclose(moments.mean.numpy(), values.double().numpy().mean(0), atol=1e-12)
    np.testing.assert_allclose(moments.covariance.numpy(), np.cov(values.double().numpy(), rowvar=False), atol=1e-12)


def test_distance_equals_scipys_matrix_root():
    real, synthetic = features(200, 24, 1), features(150, 24, 2, scale=1.3, shift=0.1)
    expected = by_scipy(real, synthetic)
    assert frechet_distance(Moments.of(real), Moments.of(synthetic)) == pytest.approx(expected, abs=1e-7)


def test_distance_equals_torchmetrics():
    real, synthetic = features(200, 24, 1), features(150, 24, 2, scale=1.3, shift=0.1)
    reference = FrechetInceptionDistance(feature=Given(), normalize=True).set_dtype(torch.float64)
    reference.update(real.double(), real=True)
    reference.update(synthetic.double(), real=False)
    assert frechet_distance_of(real, synthetic) == pytest.approx(reference.compute().item(), abs=1e-6)


@pytest.mark.parametrize(("n", "m"), [(20, 20), (20, 35), (90, 20), (20, 90), (70, 90)])
def test_the_form_for_few_features_equals_the_form_for_moments(n, m):
    real, synthetic = features(n, 60, 1), features(m, 60, 2, scale=1.2, shift=0.05)
    expected = frechet_distance(Moments.of(real), Moments.of(synthetic))
    assert frechet_distance_of(real, synthetic) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("n", [30, 100])
def test_equal_sets_are_zero_apart_and_never_below(n):
    values = features(n, 60, 4)
    assert 0 <= frechet_distance_of(values, values) < 1e-8
    assert 0 <= frechet_distance(Moments.of(values), Moments.of(values)) < 1e-6


def test_a_shift_counts_its_square_in_every_dimension():
    values = features(30, 60, 4)
    assert frechet_distance_of(values, values + 0.5) == pytest.approx(60 * 0.25, abs=1e-4)


def test_large_single_precision_features_stay_exact():
    values = features(400, 24, 1) + 1000
    assert 0 <= frechet_distance_of(values, values.flip(0)) < 1e-6


@pytest.mark.parametrize("bad", [torch.zeros(1, 4), torch.zeros(4), torch.zeros(5, 3)])
def test_sets_that_cannot_be_compared_are_refused(bad):
    with pytest.raises(ValueError, match=r"feature"):
        frechet_distance_of(torch.randn(5, 4), bad)


def test_moments_of_different_sizes_are_refused():
    with pytest.raises(ValueError, match="cannot compare"):
        frechet_distance(Moments.of(features(5, 3, 1)), Moments.of(features(5, 4, 1)))


def test_halves_hold_different_patients_and_equally_many_images():
    group = np.repeat(np.arange(7), [3, 9, 1, 5, 6, 2, 8])
    pairs = disjoint_halves(group, seed=1, draws=6)
    assert len({len(half) for pair in pairs for half in pair}) == 1
    assert len(pairs[0][0]) >= 10
    for real, other in pairs:
        assert not set(group[real]) & set(group[other])
        assert len(set(real)) == len(real)
    assert len({tuple(real) for real, _ in pairs}) > 1


def test_halves_repeat_with_their_seed():
    group = np.repeat(np.arange(5), 4)
    first, again, other = (disjoint_halves(group, seed=s) for s in (1, 1, 2))
    assert all((a[0] == b[0]).all() and (a[1] == b[1]).all() for a, b in zip(first, again, strict=True))
    assert any((a[0] != b[0]).any() for a, b in zip(first, other, strict=True))


def test_one_patient_has_no_halves():
    with pytest.raises(ValueError, match="two patients"):
        disjoint_halves(np.zeros(5, dtype=np.int64), seed=1)
