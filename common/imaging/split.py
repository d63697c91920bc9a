"""Which patients train, which choose and which test: decided once, by the patient's own name, before any slicing."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

from common.errors import ConfigError
from common.study.experiment import SplitConfig


@dataclass(frozen=True)
class Split:
    """Names of patients; no patient is in two parts.

    Attributes:
        train, validation, test: the three parts, each in a fixed order.
        unused: patients beyond the exact counts that were asked for; empty for fractions.
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    unused: tuple[str, ...] = ()


def split_patients(patients: Sequence[tuple[str, bool]], split: SplitConfig) -> Split:
    """Divides (name, has a tumour) pairs into three parts, each with the cohort's share of tumours.

    Patients stand in the order of a hash of their name; the test part takes the first, validation the next, training
    what follows. So the result depends on nothing but the names, the classes and the sizes: not on the order given,
    not on a seed, and the test part not on how many patients train.

    Sizes that sum to 1 are fractions of all patients. Otherwise they are exact counts: patients beyond them are
    ``unused``, and where there are fewer patients than asked for, every part shrinks in proportion. A part that was
    asked for has a patient as soon as there are enough of them, training first.

    >>> split_patients([("ann", True), ("bob", True), ("cy", False)], SplitConfig(1, 1, 1)).train
    ('cy',)

    Raises:
        ConfigError: if there is no patient, a name occurs twice, or the sizes are negative, all 0 or neither
            fractions nor whole numbers.
    """
    if not patients:
        raise ConfigError("there is no patient to split")
    if len({name for name, _ in patients}) < len(patients):
        raise ConfigError("a patient occurs twice in the list to split")
    test, validation, train = part_sizes(len(patients), split)
    ranked = sorted(patients, key=lambda patient: _rank(patient[0]))
    tumour = [name for name, has_tumour in ranked if has_tumour]
    healthy = [name for name, has_tumour in ranked if not has_tumour]
    parts = []
    for size in (test, validation, train):
        with_tumour = tumour_share(size, len(tumour), len(healthy))
        parts.append((*tumour[:with_tumour], *healthy[: size - with_tumour]))
        tumour, healthy = tumour[with_tumour:], healthy[size - with_tumour :]
    return Split(train=parts[2], validation=parts[1], test=parts[0], unused=(*tumour, *healthy))


def everything_is_test(patients: Sequence[tuple[str, bool]]) -> Split:
    """The split of an external centre, which takes no part in training.

    >>> everything_is_test([("b", True), ("a", False)])
    Split(train=(), validation=(), test=('a', 'b'), unused=())
    """
    return Split(train=(), validation=(), test=tuple(sorted(name for name, _ in patients)))


def part_sizes(patients: int, split: SplitConfig) -> tuple[int, int, int]:
    """Patients in (test, validation, train).

    >>> part_sizes(20, SplitConfig(0.7, 0.2, 0.1))
    (2, 4, 14)
    >>> part_sizes(2, SplitConfig(8, 2, 20))
    (1, 0, 1)

    Raises:
        ConfigError: if the sizes are negative, all 0 or neither fractions nor whole numbers.
    """
    wanted = (split.test, split.validation, split.train)
    total = sum(wanted)
    fractions = math.isclose(total, 1.0, abs_tol=1e-6)
    if min(wanted) < 0 or total <= 0 or not (fractions or all(size == int(size) for size in wanted)):
        raise ConfigError(f"split {split}: give three fractions that sum to 1, or three whole numbers of patients")
    if not fractions and total <= patients:
        return int(split.test), int(split.validation), int(split.train)
    exact = [size / total * patients for size in wanted]
    sizes = [math.floor(size) for size in exact]
    by_remainder = sorted(range(3), key=lambda part: (sizes[part] - exact[part], part))
    for part in by_remainder[: patients - sum(sizes)]:
        sizes[part] += 1
    for part in (2, 0, 1):
        largest = sizes.index(max(sizes))
        spare = sizes[largest] > 1 or part == 2
        if wanted[part] > 0 and sizes[part] == 0 and spare:
            sizes[part], sizes[largest] = 1, sizes[largest] - 1
    return sizes[0], sizes[1], sizes[2]


def tumour_share(size: int, tumour: int, healthy: int) -> int:
    """How many of ``size`` patients should have a tumour, when so many of each kind are left."""
    if size == 0:
        return 0
    share = math.floor(size * tumour / (tumour + healthy) + 0.5)
    return min(max(share, size - healthy), tumour)


def _rank(name: str) -> tuple[str, str]:
    return hashlib.sha256(f"split\x1f{name}".encode()).hexdigest(), name
