"""Numbers of slices of a kind in batches of any size."""

import statistics

import pytest

from common.training.shares import counts_of_a_share


@pytest.mark.parametrize(
    ("size", "share", "expected"), [(8, 0.5, 4), (2, 0.5, 1), (10, 0.3, 3), (4, 0.0, 0), (3, 1.0, 3)]
)
def test_a_share_that_divides_the_batch_is_the_same_in_every_batch_and_for_every_seed(
    size: int, share: float, expected: int
) -> None:
    assert [list(counts_of_a_share(size, share, 4, seed)) for seed in range(3)] == [[expected] * 4] * 3


@pytest.mark.parametrize(("size", "share"), [(1, 0.5), (3, 0.5), (7, 0.5), (2, 0.1), (8, 0.05), (5, 0.95), (4, 0.33)])
def test_any_other_share_is_met_over_the_batches_and_over_the_seeds(size: int, share: float) -> None:
    counts = list(counts_of_a_share(size, share, 400, seed=5))
    assert abs(sum(counts) - 400 * size * share) < 1
    assert max(counts) - min(counts) == 1
    firsts = [next(counts_of_a_share(size, share, 1, seed)) for seed in range(2000)]
    assert statistics.fmean(firsts) == pytest.approx(size * share, abs=0.04)


def test_the_numbers_are_the_same_for_the_same_seed_only() -> None:
    first, again, other = (tuple(counts_of_a_share(1, 0.37, 50, seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
