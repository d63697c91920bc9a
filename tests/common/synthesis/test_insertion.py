import torch

from common.synthesis.blanking import windows_around
from common.synthesis.insertion import compose, insert


def test_pixels_outside_the_region_keep_exactly_their_value() -> None:
    original, region = torch.rand(3, 2, 32, 32), torch.zeros(3, 32, 32, dtype=torch.bool)
    region[:, 5:12, 20:30] = True
    windows = windows_around(region, 16)
    crops = torch.rand(3, 2, 16, 16)
    result = insert(crops, windows, original, region)
    outside = ~region.unsqueeze(1).expand_as(original)
    assert torch.equal(result[outside], original[outside])
    assert torch.equal(windows.cut(result)[windows.cut(~outside)], crops[windows.cut(~outside)])


def test_original_is_not_changed() -> None:
    original = torch.zeros(1, 1, 8, 8)
    region = torch.ones(1, 8, 8, dtype=torch.bool)
    insert(torch.ones(1, 1, 8, 8), windows_around(region, 0), original, region)
    assert original.sum() == 0


def test_what_is_not_a_number_outside_the_region_does_no_harm() -> None:
    region = torch.zeros(1, 4, 4, dtype=torch.bool)
    region[0, 1, 1] = True
    generated = torch.full((1, 1, 4, 4), float("nan"))
    generated[..., 1, 1] = 0.5
    assert compose(generated, torch.zeros(1, 1, 4, 4), region).sum().item() == 0.5
