import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

from common.metrics.diversity import (
    SCALE_WEIGHTS,
    Diversity,
    has_collapsed,
    mean_pairwise_ms_ssim,
    ms_ssim,
    scale_count,
    strikingly_alike,
)
from common.metrics.normalised import blurred


def textures(count: int, size: int, seed: int, channels: int = 1) -> torch.Tensor:
    """Images with structure at every scale."""
    random = torch.Generator().manual_seed(seed)
    image = torch.zeros(count, channels, size, size)
    for cells in (4, 8, 16):
        noise = torch.rand(count, channels, cells, cells, generator=random)
        image += torch.nn.functional.interpolate(noise, size=size, mode="bilinear") / 3
    return image


def weights(scales: int) -> tuple[float, ...]:
    used = SCALE_WEIGHTS[:scales]
    return tuple(weight / sum(used) for weight in used)


@pytest.mark.parametrize(("size", "scales"), [(32, 2), (64, 3), (128, 4), (192, 5), (256, 5)])
def test_ms_ssim_equals_torchmetrics_with_the_same_weights(size, scales):
    a = textures(3, size, 1, channels=2 if size < 128 else 1)
    strength = torch.tensor([0.02, 0.1, 0.4]).view(3, 1, 1, 1)
    b = (a + strength * torch.randn(a.shape, generator=torch.Generator().manual_seed(2))).clamp(0, 1)
    assert scale_count(size, size) == scales
    expected = multiscale_structural_similarity_index_measure(
        a.double(), b.double(), data_range=1.0, betas=weights(scales), reduction="none"
    )
    assert ms_ssim(a, b).tolist() == pytest.approx(expected.tolist(), abs=2e-5)


def test_unrelated_images_too_equal_torchmetrics():
    a, b = textures(8, 64, 1), textures(8, 64, 2)
    expected = multiscale_structural_similarity_index_measure(
        a.double(), b.double(), data_range=1.0, betas=weights(3), reduction="none"
    )
    assert ms_ssim(a, b).tolist() == pytest.approx(expected.tolist(), abs=2e-5)


def test_sizes_that_torchmetrics_refuses_equal_scipys_filters():
    a, b = textures(1, 96, 1), textures(1, 96, 2) * 0.5 + textures(1, 96, 1) * 0.5
    x, y = a[0, 0].double().numpy(), b[0, 0].double().numpy()
    expected = 1.0
    for scale, weight in enumerate(weights(4)):
        means = [gaussian_filter(v, 1.5, mode="mirror", radius=5) for v in (x, y, x * x, y * y, x * y)]
        structure = (2 * (means[4] - means[0] * means[1]) + 0.03**2) / (
            means[2] - means[0] ** 2 + means[3] - means[1] ** 2 + 0.03**2
        )
        luminance = (2 * means[0] * means[1] + 0.01**2) / (means[0] ** 2 + means[1] ** 2 + 0.01**2)
        expected *= ((luminance * structure).mean() if scale == 3 else structure[5:-5, 5:-5].mean()) ** weight
        x, y = (v.reshape(len(v) // 2, 2, len(v) // 2, 2).mean((1, 3)) for v in (x, y))
    assert ms_ssim(a, b).item() == pytest.approx(expected, abs=2e-5)


def test_the_order_of_a_pair_does_not_matter_and_nothing_exceeds_1():
    a, b = textures(5, 64, 1), textures(5, 64, 2)
    torch.testing.assert_close(ms_ssim(a, b), ms_ssim(b, a), rtol=0, atol=1e-6)
    assert ((ms_ssim(a, b) >= 0) & (ms_ssim(a, b) < 1)).all()
    assert ms_ssim(a, a).tolist() == pytest.approx([1.0] * 5, abs=1e-6)


def test_an_inverted_image_counts_as_0_and_not_as_nan():
    a = textures(1, 64, 1)
    assert ms_ssim(a, 1 - a).tolist() == [0.0]


def test_identical_constant_images_are_alike():
    black = torch.zeros(4, 1, 32, 32)
    diversity = mean_pairwise_ms_ssim(black, 10, seed=1)
    assert (diversity.mean, diversity.spread, diversity.pairs, diversity.scales) == (1, 0, 6, 2)


def test_the_mean_is_over_all_pairs_if_so_many_are_asked_for():
    images = textures(6, 32, 1)
    pairs = [(i, j) for i in range(6) for j in range(i)]
    each = torch.cat([ms_ssim(images[[i]], images[[j]]) for i, j in pairs])
    diversity = mean_pairwise_ms_ssim(images, 1000, seed=1)
    assert diversity.pairs == 15
    assert diversity.mean == pytest.approx(each.mean().item(), abs=1e-6)
    assert diversity.spread == pytest.approx(each.std().item(), abs=1e-6)


def test_pairs_are_distinct_and_repeat_with_their_seed():
    images = (textures(30, 32, 1) + textures(1, 32, 5)) / 2
    first, again, other = (mean_pairwise_ms_ssim(images, 100, seed=s) for s in (1, 1, 2))
    assert torch.equal(first.values, again.values)
    assert first.mean != other.mean
    assert first.mean == pytest.approx(other.mean, abs=4 * first.spread / 10)
    assert len(first.values.unique()) == 100


def test_with_patients_only_pairs_of_different_ones_count():
    images = textures(3, 32, 1).repeat_interleave(4, dim=0)
    patients = np.repeat([7, 3, 5], 4)
    apart = mean_pairwise_ms_ssim(images, 1000, seed=1, patients=patients)
    assert apart.pairs == 48
    assert apart.values.max() < 0.99 < mean_pairwise_ms_ssim(images, 1000, seed=1).values.max()


def few_images_again_and_again(modes: int, count: int) -> torch.Tensor:
    noise = torch.randn(count, 1, 64, 64, generator=torch.Generator().manual_seed(3)) * 0.005
    return (textures(modes, 64, 9).repeat(count // modes + 1, 1, 1, 1)[:count] + noise).clamp(0, 1)


@pytest.fixture(scope="module")
def yardstick() -> Diversity:
    return mean_pairwise_ms_ssim(blurred(textures(50, 64, 1)), 400, seed=1)


@pytest.mark.parametrize(("modes", "collapsed"), [(1, True), (4, True), (7, True), (25, False)])
def test_a_generator_of_few_images_has_collapsed(modes, collapsed, yardstick):
    synthetic = mean_pairwise_ms_ssim(few_images_again_and_again(modes, 50), 400, seed=1)
    assert has_collapsed(synthetic, yardstick) == collapsed
    assert strikingly_alike(synthetic, yardstick) == pytest.approx(1 / modes, abs=0.05)


def test_images_as_diverse_as_real_ones_have_not_collapsed_be_they_blurred_or_not(yardstick):
    real, other = textures(50, 64, 1), textures(50, 64, 2)
    sharp, soft = (mean_pairwise_ms_ssim(images, 400, seed=1) for images in (other, blurred(other)))
    assert strikingly_alike(sharp, yardstick) < 0.02
    assert strikingly_alike(soft, yardstick) < 0.04
    assert soft.mean > mean_pairwise_ms_ssim(real, 400, seed=1).mean + 0.02


def test_figures_over_different_scales_are_not_compared():
    values = torch.zeros(3, dtype=torch.float64)
    with pytest.raises(ValueError, match="over 2 scales cannot be compared"):
        has_collapsed(Diversity(0, 0, 3, 2, values), Diversity(0, 0, 3, 3, values))


@pytest.mark.parametrize(
    ("images", "pairs", "patients", "text"),
    [
        (torch.zeros(1, 1, 32, 32), 5, None, "no pair"),
        (torch.zeros(4, 1, 32, 32), 5, np.zeros(4, np.int64), "no pair"),
        (torch.zeros(4, 1, 32, 32), 0, None, "no pair"),
        (torch.zeros(4, 1, 32, 32), 5, np.zeros(3, np.int64), "3 patients for 4 images"),
        (torch.zeros(4, 1, 10, 32), 5, None, "smaller than the window"),
        (torch.zeros(4, 32, 32), 5, None, "expected images"),
    ],
)
def test_images_without_a_pair_are_refused(images, pairs, patients, text):
    with pytest.raises(ValueError, match=text):
        mean_pairwise_ms_ssim(images, pairs, seed=1, patients=patients)


def test_images_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="two equal shapes"):
        ms_ssim(torch.zeros(1, 1, 32, 32), torch.zeros(2, 1, 32, 32))
