"""One data set shared out over many simulated sites, patient by patient: evenly, or skewed as real hospitals are."""

from collections.abc import Sequence

import numpy as np

from common.errors import ConfigError
from common.seeding import Label, numpy_generator
from common.study.simulated import PartitionConfig

Shares = list[tuple[str, ...]]
"""The patients of each site, sorted by name."""


def share_out(patients: Sequence[tuple[str, bool]], partition: PartitionConfig, seed: int) -> Shares:
    """Divides (name, has a tumour) pairs over ``partition.sites`` sites; every patient goes to exactly one.

    ``even``: numbers of patients, and of patients with a tumour, differ by at most one between two sites.
    ``dirichlet``: for each class the sites' proportions are drawn from a symmetric Dirichlet distribution, so that
    sites differ in size and in their share of tumours; sites with fewer than ``least`` then get patients from the
    largest ones.

    Raises:
        ConfigError: if there are too few patients for ``least`` at every site.

    Source: Hsu et al. 2019, Measuring the effects of non-identical data distribution, for the Dirichlet scheme.
    """
    if len(patients) < partition.least * partition.sites:
        raise ConfigError(
            f"{len(patients)} patients cannot be shared out over {partition.sites} sites with at least "
            f"{partition.least} each; lower partition.<name>.sites or partition.<name>.least"
        )
    random = numpy_generator(seed, Label.PARTITION, partition.scheme)
    classes = [[name for name, tumour in sorted(patients) if tumour == kind] for kind in (True, False)]
    shuffled = [[names[i] for i in random.permutation(len(names))] for names in classes]
    shares = _even(shuffled, partition.sites)
    if partition.scheme == "dirichlet":
        shares = _dirichlet(shuffled, partition, random)
    return [tuple(sorted(share)) for share in shares]


def _even(classes: Sequence[Sequence[str]], sites: int) -> list[list[str]]:
    dealt: list[list[str]] = [[] for _ in range(sites)]
    # The second class goes on where the first ended, so that the totals stay even too.
    for position, name in enumerate(name for names in classes for name in names):
        dealt[position % sites].append(name)
    return dealt


def _dirichlet(
    classes: Sequence[Sequence[str]], partition: PartitionConfig, random: np.random.Generator
) -> list[list[str]]:
    shares: list[list[str]] = [[] for _ in range(partition.sites)]
    for names in classes:
        proportions = random.dirichlet([partition.alpha] * partition.sites)
        bounds = np.round(np.cumsum(proportions) * len(names)).astype(int)
        for share, first, last in zip(shares, [0, *bounds[:-1]], bounds, strict=True):
            share.extend(names[first:last])
    for share in shares:
        while len(share) < partition.least:
            share.append(max(shares, key=len).pop())
    return shares
