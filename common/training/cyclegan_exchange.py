"""How sites of two domains add up to one CycleGAN: by examples within a domain, and both domains equally.

The CycleGAN objective is a sum of a term that needs images of the first domain only and one that needs images of the
second only. Each term is a mean over its domain's images, so several sites of a domain count by their numbers, and the
two domains count alike, however unequal they are (Song & Ye 2021).
"""

from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor

from common.errors import StudyError
from common.training.trainer import Contributor, View


def domain_shares(sites: Mapping[str, Contributor], domains: Sequence[View]) -> dict[str, float]:
    """Each site's share of its domain, by examples; the shares of a domain sum to 1.

    >>> a, b = View("brain", ("t1",)), View("brain", ("t2",))
    >>> sites = {"north": Contributor(a, 30), "east": Contributor(a, 10), "south": Contributor(b, 5)}
    >>> domain_shares(sites, (a, b))
    {'north': 0.75, 'east': 0.25, 'south': 1.0}
    """
    total = {view: sum(one.examples for one in sites.values() if one.view == view) for view in domains}
    return {site: one.examples / total[one.view] if total.get(one.view) else 0.0 for site, one in sites.items()}


def sum_of_domains(contributions: Mapping[str, Mapping[str, Tensor]], shares: Mapping[str, float]) -> dict[str, Tensor]:
    """The sites' arrays, each times its site's share, summed in the order of site names."""
    total: dict[str, Tensor] = {}
    for site in sorted(contributions):
        for key, value in contributions[site].items():
            part = value * shares[site]
            total[key] = total[key] + part if key in total else part
    return total


def require_both(domains: Sequence[View], views: Mapping[str, View]) -> None:
    """Refuses sites that do not show both domains: an unpaired translation needs images of each.

    Args:
        domains: the two sides.
        views: what each site shows.

    Raises:
        StudyError: naming the domain without a site, what the sites show, and what to change.
    """
    missing = [number for number, domain in enumerate(domains) if domain not in views.values()]
    if not missing:
        return
    lacking = " and ".join(f"{domains[n].name} (models.cyclegan.domains[{n}])" for n in missing)
    raise StudyError(
        f"CycleGAN needs sites of both domains, and no site shows {lacking}. {_shown(views.items())} "
        "Name domains that sites hold in models.cyclegan.domains, or add a site; a site that holds both counts for the "
        "first, unless its `contrasts` list the second's alone."
    )


def _shown(views: Iterable[tuple[str, View]]) -> str:
    each = "; ".join(f"{site} shows {view.name}" for site, view in sorted(views))
    return f"Sites: {each}." if each else "No site shows either."
