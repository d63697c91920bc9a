import torch

from common.seeding import torch_generator
from common.training.augmentation import augment_slices, random_turns


def test_is_the_same_for_the_same_seed_and_stays_in_range() -> None:
    x = torch.rand(20, 2, 32, 32)
    first = augment_slices(x, torch_generator(1))
    assert torch.equal(first, augment_slices(x, torch_generator(1)))
    assert not torch.equal(first, augment_slices(x, torch_generator(2)))
    assert first.min() >= 0
    assert first.max() <= 1


def test_with_every_change_at_zero_a_slice_is_itself_or_its_mirror_image() -> None:
    x = torch.rand(20, 1, 16, 16)
    result = augment_slices(x, torch_generator(1), rotation=0, scale=0, shift=0, contrast=0)
    same = (result - x).abs().flatten(1).amax(1) < 1e-4
    mirrored = (result - x.flip(-1)).abs().flatten(1).amax(1) < 1e-4
    assert (same ^ mirrored).all()
    assert same.any()
    assert mirrored.any()


def test_changes_are_small() -> None:
    x = torch.zeros(50, 1, 64, 64)
    x[..., 24:40, 24:40] = 0.5
    mass = augment_slices(x, torch_generator(1)).flatten(1).sum(1) / x.flatten(1).sum(1)
    assert mass.min() > 0.6
    assert mass.max() < 1.6


def test_contrasts_move_together() -> None:
    x = torch.rand(5, 1, 32, 32).expand(-1, 3, -1, -1)
    result = augment_slices(x, torch_generator(1))
    assert torch.equal(result[:, 0], result[:, 2])


def test_turns_move_pixels_without_changing_any_and_all_maps_alike() -> None:
    x = torch.rand(40, 1, 8, 8)
    images, same = random_turns((x, x.squeeze(1)), torch_generator(1))
    assert torch.equal(images.squeeze(1), same)
    assert torch.equal(images.flatten(1).sort().values, x.flatten(1).sort().values)
    seen = {
        (turn, mirror)
        for before, after in zip(x, images, strict=True)
        for turn in range(4)
        for mirror in (False, True)
        if torch.equal(after, before.rot90(turn, (-2, -1)).flip(-1) if mirror else before.rot90(turn, (-2, -1)))
    }
    assert len(seen) == 8
