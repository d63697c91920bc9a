"""Where classifiers were trained and tested: at one site, in federation, in one place, or on external patients."""

from collections.abc import Iterable, Mapping
from typing import TypeVar

from common.report.arms import SCOPE_TITLES, Scores, scope_title
from common.results.classifier import CENTRALISED, EXTERNAL, FEDERATED, SITES
from common.results.study import Results

Value = TypeVar("Value")


def alone(scopes: Mapping[str, Value]) -> dict[str, Value]:
    """Those of single sites.

    >>> alone({"federated": 1, "hospital1": 2, "external": 3})
    {'hospital1': 2}
    """
    return {scope: value for scope, value in scopes.items() if scope not in SCOPE_TITLES}


def ordered(scopes: Iterable[str]) -> list[str]:
    """Each scope once: federation, one place, external centres, the mean over sites, then the sites by name.

    >>> ordered(["b", "external", "a", "federated", "a"])
    ['federated', 'external', 'a', 'b']
    """
    found = set(scopes)
    first = [scope for scope in (FEDERATED, CENTRALISED, EXTERNAL, SITES) if scope in found]
    return [*first, *sorted(found - set(first))]


def arms_scopes(results: Results) -> dict[str, Scores]:
    """The scored arms of the fixed split by scope; a federation of several organs is followed by each of them."""
    organs = {f"{FEDERATED}/{organ}": scores for organ, scores in results.organ_arms.items()}
    found: dict[str, Scores] = {}
    for scope in ordered(results.arms):
        if results.arms[scope] or scope == FEDERATED:
            found[scope] = results.arms[scope]
        if scope == FEDERATED:
            found |= organs
    return found if FEDERATED in found else {**organs, **found}


def scope_titles(results: Results) -> dict[str, str]:
    """Scope or site -> how it is written: in a study of several organs a site is named with its own."""
    several = len({site.organ for site in results.sites.values()}) > 1
    sites = {name: f"{name}, {site.organ}" if several else name for name, site in results.sites.items()}
    organs = {f"{FEDERATED}/{organ}": f"in federation, {organ}" for organ in results.organ_arms}
    whole = {scope: scope_title(scope) for scope in SCOPE_TITLES}
    whole[FEDERATED] += ", all organs" if organs else ""
    return {**whole, **organs, **sites}


def heading(title: str) -> str:
    """A title at the start of a line; the name of a site stays as the site writes it.

    >>> heading("in federation, brain"), heading("hospital1")
    ('In federation, brain', 'hospital1')
    """
    return title[0].upper() + title[1:] if title.startswith(tuple(SCOPE_TITLES.values())) else title


def titled(results: Results, scope: str, *, arms: bool = True) -> str:
    """How one scope is written; with ``arms`` false ``external`` is a site of this name, as in a matrix of sites."""
    if arms and scope in SCOPE_TITLES:
        return scope_title(scope) + (", all organs" if scope == FEDERATED and results.organ_arms else "")
    return scope_titles(results).get(scope, scope)
