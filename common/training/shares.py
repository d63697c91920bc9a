"""How many slices of a batch are of one kind, so that a share is met whatever the size of a batch."""

import math
from collections.abc import Iterator

from common.seeding import Label, derive_seed


def counts_of_a_share(batch_size: int, share: float, batches: int, seed: int) -> Iterator[int]:
    """For each of ``batches``, how many of its ``batch_size`` slices are of a kind that makes up ``share`` of all.

    The same number in every batch where the share divides it. Elsewhere the next smaller or the next larger number
    (systematic sampling from a random start): any run of batches is off by less than one slice, and the mean over
    seeds is right for each single batch. Always the same number, rounded, would leave one kind out of small batches.

    Args:
        batch_size: at least 1.
        share: from 0 to 1.
        batches: how many numbers.
        seed: of the start.

    >>> list(counts_of_a_share(8, 0.5, 3, seed=1)), list(counts_of_a_share(1, 0.5, 6, seed=1))
    ([4, 4, 4], [0, 1, 0, 1, 0, 1])
    """
    mean = batch_size * share
    if math.isclose(mean, round(mean), abs_tol=1e-9):
        return (round(mean) for _ in range(batches))
    start = derive_seed(seed, Label.SHARE) / 2**63
    return (math.floor((index + 1) * mean + start) - math.floor(index * mean + start) for index in range(batches))
