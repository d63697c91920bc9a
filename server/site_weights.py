"""How much each site counts in the averages of a training, and how that is told.

Sites count by the number that they declare only where all that train declare one, and of the same kind. Otherwise all
count alike: a site that keeps its number to itself would hardly count beside one that declares hundreds of slices.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, product
from typing import Literal

from common.figures.formatting import listed
from common.results.shares import Shares
from server.roster import Member


@dataclass(frozen=True)
class SiteWeights:
    """What the sites of a training count in its averages.

    Attributes:
        by: declared training ``slices`` or, with patients as the unit of privacy, ``patients``; or all ``sites`` alike.
        examples: by site; 1 each where all count alike.
        told: in words, as the end of a sentence about who trains.
    """

    by: Literal["sites", "slices", "patients"]
    examples: dict[str, int]
    told: str


def site_weights(members: Sequence[Member]) -> SiteWeights:
    """What ``members``, the sites of one training, count in its averages."""
    declared = {member.site: member.hello.examples_of for member in members}
    units = set(declared.values())
    silent = [site for site, unit in declared.items() if unit is None]
    if not silent and len(units) == 1:
        (unit,) = units
        assert unit is not None
        examples = {member.site: member.hello.examples for member in members}
        return SiteWeights(unit, examples, f"counting by their declared training {unit} in the average")
    if len(silent) == len(members):
        because = "none declares its counts"
    elif silent:
        because = f"{listed(silent)} {'declares' if len(silent) == 1 else 'declare'} no counts (declare_counts)"
    else:
        because = "some declare slices and others patients"
    told = f"all counting alike in the average, because {because}"
    return SiteWeights("sites", dict.fromkeys(declared, 1), told)


def shares_of(weights: Mapping[str, Mapping[str, float]]) -> list[Shares]:
    """Each site's share in each network's average; networks that are averaged alike stand together.

    Args:
        weights: by network, then by site: those that took part, in any unit; at least one above 0.

    >>> [one.sites for one in shares_of({"generator": {"a": 3, "b": 1}, "critic": {"a": 6, "b": 2}})]
    [{'a': 0.75, 'b': 0.25}]
    """
    found: list[Shares] = []
    for network, of_sites in weights.items():
        total = sum(of_sites.values())
        sites = {site: weight / total for site, weight in of_sites.items()}
        for one in found:
            if one.sites == sites:
                one.networks.append(network)
                break
        else:
            found.append(Shares(networks=[network], sites=sites))
    return found


def mean_shares(averages: Sequence[Sequence[Shares]]) -> list[Shares]:
    """The mean over several averages; a site that took part in none of the others' counts 0 there."""
    sums: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for one in chain.from_iterable(averages):
        for network, (site, share) in product(one.networks, one.sites.items()):
            sums[network][site] += share
    return shares_of({network: dict(sorted(of_sites.items())) for network, of_sites in sums.items()})


def shares_told(shares: Iterable[Shares]) -> str:
    """In words; empty where nothing was averaged.

    >>> shares_told([Shares(networks=["generator"], sites={"a": 0.5, "b": 0.5})])
    'a 50.0%, b 50.0%'
    """
    told = [(one.networks, ", ".join(f"{site} {share:.1%}" for site, share in one.sites.items())) for one in shares]
    if len(told) == 1:
        return told[0][1]
    return "; ".join(f"{listed(networks)}: {sites}" for networks, sites in told)
