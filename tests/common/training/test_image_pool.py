import pytest
import torch
from torch import Tensor

from common.training.image_pool import ImagePool


def numbered(first: int, count: int) -> Tensor:
    """Images (count, 1, 2, 2), each filled with its own number."""
    return torch.arange(first, first + count).float().view(-1, 1, 1, 1).expand(-1, 1, 2, 2)


def numbers(images: Tensor) -> list[int]:
    return [int(image.mean()) for image in images]


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_pool_of_nothing_hands_out_what_it_gets() -> None:
    pool = ImagePool(0)
    assert numbers(pool.exchange(numbered(0, 5), draws())) == [0, 1, 2, 3, 4]
    assert len(pool) == 0
    assert len(pool.images()) == 0


def test_images_are_kept_and_handed_out_while_the_pool_fills_up() -> None:
    pool = ImagePool(6)
    assert numbers(pool.exchange(numbered(0, 4), draws())) == [0, 1, 2, 3]
    assert numbers(pool.images()) == [0, 1, 2, 3]


def test_no_image_is_lost_or_doubled() -> None:
    pool, random = ImagePool(8), draws()
    shown: list[int] = []
    for step in range(50):
        shown += numbers(pool.exchange(numbered(4 * step, 4), random))
    # The first 8 are handed out once while the pool fills up, and again when another takes their place.
    kept = numbers(pool.images())
    assert sorted(set(shown) | set(kept)) == list(range(200))
    assert not set(shown) & set(kept) - set(range(8))
    assert sorted(number for number in shown if number >= 8) == sorted(set(range(8, 200)) - set(kept))


def test_half_of_what_a_full_pool_hands_out_is_old() -> None:
    pool, random = ImagePool(50), draws()
    pool.exchange(numbered(0, 50), random)
    old, ages = 0, []
    for step in range(1000):
        first = 50 + 4 * step
        for number in numbers(pool.exchange(numbered(first, 4), random)):
            old += number < first
            ages += [first - number] if number < first else []
    # Binomial(4000, about 1/2): five standard deviations are 0.04; a swap with an image of the same call is rare.
    assert old / 4000 == pytest.approx(0.5, abs=0.05)
    # An image waits for the one swap in 50 that hits its place: 100 images on average, at one swap in two images.
    assert sum(ages) / len(ages) == pytest.approx(100, rel=0.15)


def test_the_same_draws_give_the_same_images_and_content() -> None:
    results = []
    for seed in (1, 1, 2):
        pool, random = ImagePool(5), draws(seed)
        shown = [numbers(pool.exchange(numbered(4 * step, 4), random)) for step in range(10)]
        results.append((shown, numbers(pool.images())))
    assert results[0] == results[1] != results[2]


def test_a_restored_pool_goes_on_like_the_one_that_was_saved() -> None:
    one, other = ImagePool(5), ImagePool(5)
    one.exchange(numbered(0, 12), draws())
    other.load(one.images())
    for step in range(5):
        new = numbered(100 + 4 * step, 4)
        assert torch.equal(one.exchange(new, draws(step)), other.exchange(new, draws(step)))
    assert torch.equal(one.images(), other.images())


def test_content_does_not_change_with_the_tensors_it_came_from() -> None:
    pool = ImagePool(2)
    images = numbered(1, 2).clone()
    pool.exchange(images, draws())
    images.zero_()
    assert numbers(pool.images()) == [1, 2]


def test_what_comes_out_carries_no_gradient() -> None:
    images = torch.rand(3, 1, 2, 2, requires_grad=True)
    for capacity in (0, 2):
        assert not ImagePool(capacity).exchange(images, draws()).requires_grad


def test_impossible_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 0"):
        ImagePool(-1)
    with pytest.raises(ValueError, match="pool of 2"):
        ImagePool(2).load(numbered(0, 3))
