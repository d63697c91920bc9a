import pytest
import torch

from common.imaging.slices import Slices, lesion_mask
from common.seeding import torch_generator
from common.synthesis.blanking import blanked_region, draw_margins, groups_of, window_sizes, windows_around


def test_region_is_the_mask_grown_by_each_slices_margin() -> None:
    labels = torch.zeros(3, 20, 20, dtype=torch.uint8)
    labels[:, 10, 10] = 4
    foreground = torch.ones(3, 20, 20, dtype=torch.bool)
    region = blanked_region(labels, foreground, torch.tensor([0, 1, 3]))
    assert region.sum((1, 2)).tolist() == [1, 9, 49]


def test_region_stays_inside_the_foreground(slices: Slices) -> None:
    batch = slices.all()
    shrunk = batch.foreground.clone()
    shrunk[:, :, 34:] = False
    region = blanked_region(batch.labels, shrunk, torch.full((len(batch),), 3))
    assert not (region & ~shrunk).any()
    assert region[lesion_mask(batch.labels) & shrunk].all()


def test_both_ends_of_the_margin_occur() -> None:
    assert set(draw_margins(100, (1, 3), torch_generator(1)).tolist()) == {1, 2, 3}


def test_windows_are_centred_on_the_region_and_stay_inside_the_image() -> None:
    region = torch.zeros(3, 64, 64, dtype=torch.bool)
    region[0, 30:33, 40:43] = True
    region[1, 0, 0] = True
    region[2, 63, 63] = True
    windows = windows_around(region, 32)
    assert windows.top.tolist() == [15, 0, 32]
    assert windows.left.tolist() == [25, 0, 32]


def test_jitter_moves_windows_by_at_most_its_size() -> None:
    region = torch.zeros(200, 64, 64, dtype=torch.bool)
    region[:, 32, 32] = True
    windows = windows_around(region, 32, jitter=3, generator=torch_generator(1))
    assert set(windows.top.tolist()) == set(range(13, 20))
    assert set(windows.left.tolist()) == set(range(13, 20))


def test_paste_puts_back_what_cut_took_out() -> None:
    maps = torch.rand(4, 2, 20, 24)
    region = torch.rand(4, 20, 24) > 0.9
    windows = windows_around(region, 8)
    crops = windows.cut(maps)
    assert crops.shape == (4, 2, 8, 8)
    assert torch.equal(windows.paste(crops, maps), maps)
    assert torch.equal(windows.cut(windows.paste(crops + 1, maps)), crops + 1)
    top, left = int(windows.top[1]), int(windows.left[1])
    assert torch.equal(crops[1], maps[1, :, top : top + 8, left : left + 8])


def test_cut_copies() -> None:
    maps = torch.zeros(1, 8, 8)
    windows_around(torch.ones(1, 8, 8, dtype=torch.bool), 4).cut(maps).add_(1)
    assert maps.sum() == 0


def test_size_zero_is_the_whole_image() -> None:
    windows = windows_around(torch.zeros(2, 16, 16, dtype=torch.bool), 0)
    assert windows.size == 16
    assert windows.top.tolist() == [0, 0]
    with pytest.raises(ValueError, match="square"):
        windows_around(torch.zeros(2, 16, 20, dtype=torch.bool), 0)


def test_window_grows_until_it_holds_the_region() -> None:
    region = torch.zeros(60, 64, 64, dtype=torch.bool)
    generator = torch_generator(2)
    for one in region:
        top, left = torch.randint(0, 40, (2,), generator=generator).tolist()
        height, width = torch.randint(1, 25, (2,), generator=generator).tolist()
        one[top : top + height, left : left + width] = True
    sizes = window_sizes(region, 16, context=2, multiple=8)
    assert sizes.min() == 16
    assert ((sizes - 16) % 8 == 0).all()
    for size, chosen in groups_of(sizes, most=5):
        assert len(chosen) <= 5
        inside = windows_around(region[chosen], size).cut(region[chosen])
        assert torch.equal(inside.flatten(1).sum(1), region[chosen].flatten(1).sum(1))


def test_window_is_never_larger_than_the_image() -> None:
    assert window_sizes(torch.ones(1, 64, 64, dtype=torch.bool), 32, context=4, multiple=8).tolist() == [64]
    assert window_sizes(torch.ones(1, 64, 64, dtype=torch.bool), 0, context=4, multiple=8).tolist() == [64]


def test_groups_hold_every_position_once() -> None:
    sizes = torch.tensor([32, 48, 32, 32, 64, 48])
    groups = groups_of(sizes, most=2)
    assert sorted(torch.cat([part for _, part in groups]).tolist()) == list(range(6))
    assert all((sizes[part] == size).all() for size, part in groups)
