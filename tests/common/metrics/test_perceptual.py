"""The perceptual distance sees what PSNR does not, place by place."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from common.features.efficientnet import efficientnet_lite0
from common.metrics.perceptual import LAYERS, perceptual_by_region
from common.metrics.similarity import psnr


def texture(seed: int = 1, count: int = 3) -> Tensor:
    return torch.rand(count, 1, 64, 64, generator=torch.Generator().manual_seed(seed))


def test_equal_images_are_at_zero_and_others_are_not() -> None:
    one = texture()
    assert perceptual_by_region(one, one, [None])[0].tolist() == [0.0] * 3
    (apart,) = perceptual_by_region(one, texture(2), [None])
    assert (apart > 0.05).all()
    assert (apart < 4).all()


def test_it_is_the_mean_over_places_and_layers_of_squared_differences_of_unit_vectors() -> None:
    one, other = texture(count=1), texture(2, count=1)
    network = efficientnet_lite0()
    with torch.no_grad():
        maps = [network.feature_maps(images, LAYERS) for images in (one, other)]
    expected = 0.0
    for a, b in zip(*maps, strict=True):
        a, b = (part / part.norm(dim=1, keepdim=True).clamp(min=1e-12) for part in (a, b))
        enlarged = F.interpolate((a - b).pow(2).sum(1, keepdim=True), (64, 64), mode="bilinear", align_corners=False)
        expected += enlarged.mean().item() / len(LAYERS)
    assert perceptual_by_region(one, other, [None])[0].item() == pytest.approx(expected, rel=1e-5)


def test_a_smooth_fill_is_nearer_by_psnr_and_farther_by_perception() -> None:
    """What PSNR rewards: a mean of all that may be there."""
    grain, other = texture(3), texture(4)
    smooth = torch.full_like(grain, 0.5)
    assert (psnr(smooth, grain) > psnr(other, grain)).all()
    assert (perceptual_by_region(smooth, grain, [None])[0] > perceptual_by_region(other, grain, [None])[0]).all()


def test_a_region_is_judged_by_itself() -> None:
    one = texture()
    changed = one.clone()
    changed[..., :24, :24] = 0.5
    inside, outside = (torch.zeros(3, 64, 64, dtype=torch.bool) for _ in range(2))
    inside[:, :24, :24], outside[:, 48:, 48:] = True, True
    near, far, whole = perceptual_by_region(one, changed, [inside, outside, None])
    assert (near > 5 * far).all()
    assert (near > whole).all()
    assert perceptual_by_region(one, one, [torch.zeros(3, 64, 64, dtype=torch.bool)])[0].isnan().all()


def test_contrasts_are_averaged_and_no_images_give_no_values() -> None:
    one, other = texture(), texture(2)
    both = perceptual_by_region(torch.cat([one, other], 1), torch.cat([other, other], 1), [None])[0]
    assert both.tolist() == pytest.approx((perceptual_by_region(one, other, [None])[0] / 2).tolist(), rel=1e-5)
    assert perceptual_by_region(one[:0], one[:0], [None])[0].shape == (0,)
    with pytest.raises(ValueError, match="equal shapes"):
        perceptual_by_region(one, one[:1], [None])
