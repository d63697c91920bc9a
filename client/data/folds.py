"""Which patients a trial of the classifier study trains and tests on: folds, and fewer patients than there are.

Like the split, all of it follows from the patients' own names: a site that is asked twice answers the same.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

from common.errors import ConfigError
from common.imaging.split import Split, tumour_share


def fold_members(pool: Sequence[tuple[str, bool]], folds: int, run: int) -> list[tuple[str, ...]]:
    """The pool's (name, has a tumour) pairs as ``folds`` folds of names, sizes and shares of tumours as even as can be.

    Args:
        pool: the patients to share out.
        folds: how many folds.
        run: another run deals them out anew.

    Raises:
        ConfigError: if there are fewer patients than folds.

    >>> sorted(map(len, fold_members([(name, name < "d") for name in "abcdefg"], 3, 1)))
    [2, 2, 3]
    """
    if len(pool) < folds:
        raise ConfigError(f"study.folds={folds}: there are only {len(pool)} patients to share out over the folds")
    ranked = sorted(pool, key=lambda patient: (not patient[1], _rank(f"fold\x1f{run}", patient[0])))
    # The second class goes on where the first ended, so that sizes stay even too.
    return [tuple(name for name, _ in ranked[fold::folds]) for fold in range(folds)]


def fold_split(split: Split, tumour: Mapping[str, bool], *, folds: int, fold: int, run: int) -> Split:
    """``split`` with ``fold`` of all patients that do not test left out of training, as its validation part.

    Args:
        split: its training and validation patients are shared out; its test patients stay what they are.
        tumour: whether each of them has a tumour.
        folds: how many folds.
        fold: the one that is left out, 1-based.
        run: see :func:`fold_members`.

    Raises:
        ConfigError: if the fold does not exist, or there are fewer patients than folds.
    """
    if not 1 <= fold <= folds:
        raise ConfigError(f"fold {fold} does not exist: study.folds={folds}")
    pool = [*split.train, *split.validation]
    left_out = fold_members([(name, tumour[name]) for name in pool], folds, run)[fold - 1]
    return replace(split, train=tuple(name for name in pool if name not in left_out), validation=left_out)


def fewer_patients(
    train: Sequence[str], tumour: Mapping[str, bool], *, most: int = 0, most_tumour: int = 0, draw: str = ""
) -> tuple[str, ...]:
    """At most ``most`` of the training patients, at most ``most_tumour`` of them with a tumour; 0 asks for no limit.

    Fewer patients keep the cohort's share of tumours, and those of a smaller number are among those of a larger one;
    another ``draw`` takes others.

    >>> fewer_patients(["a", "b", "c", "d"], {"a": True, "b": True, "c": True, "d": False}, most_tumour=1)[1:]
    ('d',)
    """
    ranked = sorted(train, key=lambda name: _rank(f"fewer\x1f{draw}", name))
    positive = [name for name in ranked if tumour[name]]
    negative = [name for name in ranked if not tumour[name]]
    if most and most < len(ranked):
        with_tumour = tumour_share(most, len(positive), len(negative))
        positive, negative = positive[:with_tumour], negative[: most - with_tumour]
    if most_tumour:
        positive = positive[:most_tumour]
    return (*positive, *negative)


def _rank(salt: str, name: str) -> tuple[str, str]:
    return hashlib.sha256(f"{salt}\x1f{name}".encode()).hexdigest(), name
