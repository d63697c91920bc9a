"""Federated averaging: the weighted mean of the sites' weights (McMahan et al. 2017)."""

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import iadd
from typing import Any

from common.results.shares import Shares
from server.aggregators.aggregator import Aggregator, Updates, Weights


class FedAvg(Aggregator):
    """Each network's average over the sites that train it, to the last bit that of Flower's ``FedAvg``."""

    def aggregate(self, server_round: int, current: Weights, updates: Updates, shares: Sequence[Shares]) -> Weights:
        sites = {network: one.sites for one in shares for network in one.networks}
        arrays = {key: {site: update.arrays[key] for site, update in updates.items()} for key in sorted(current)}
        return {key: weighted_sum(by_site, sites[key.partition(".")[0]]) for key, by_site in arrays.items()}


def weighted_sum(values: Mapping[str, Any], shares: Mapping[str, float]) -> Any:
    """The sum of each site's float or tensor times its share, in the order of ``shares``.

    >>> weighted_sum({"a": 1.0, "b": 3.0, "c": 9.0}, {"a": 0.5, "b": 0.5})
    2.0
    """
    # Not sum(): it compensates rounding where the values are floats.
    return reduce(iadd, (values[site] * share for site, share in shares.items()))
