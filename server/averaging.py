"""Rounds of local training; where sites do not all train the same networks, each network's average is its own."""

from collections.abc import Callable, Iterable, Mapping

from torch import Tensor

from common.errors import StudyError
from common.results.shares import Shares
from common.results.study import Refusal
from server.aggregators.aggregator import Aggregator
from server.aggregators.fedavg import weighted_sum
from server.round_record import RoundRecord, last_counted
from server.rounds import FederatedTraining
from server.site_weights import shares_of

Weighting = Callable[[str], Mapping[str, float]]
"""How much each site counts in the average of a network, by the network's name."""


class Averaging:
    """A round of local training everywhere, and one step of the aggregator.

    Args:
        aggregator: makes the next weights of the sites' updates; for this training alone.
        examples: by site, what it counts in averages (:mod:`server.site_weights`); None: all alike. What a reply says
            of itself does not count.
        weighting: how much each site counts in the average of a network, where that is not by ``examples``.
    """

    def __init__(
        self, aggregator: Aggregator, examples: Mapping[str, float] | None = None, weighting: Weighting | None = None
    ) -> None:
        self.aggregator, self.examples, self.weighting = aggregator, examples, weighting

    def round(
        self, training: FederatedTraining, server_round: int, weights: dict[str, Tensor], records: list[RoundRecord]
    ) -> tuple[dict[str, Tensor], RoundRecord]:
        """Sends ``weights`` out and aggregates what comes back.

        Raises:
            StudyError: if no site that replied counts for a network.
        """
        bound = training.norm_bound(records[-1].norms if records else [], weights)
        counted, extra = last_counted(records), self.aggregator.instructions()
        heard = training.hear(server_round, weights, weights, bound, counted, extra)
        updates = heard.updates
        examples = self.examples or dict.fromkeys(updates, 1.0)
        (of_losses,) = shares_of({"losses": {site: examples[site] for site in updates}})
        shares = self._shares(server_round, weights, updates, examples)
        losses = {
            name: weighted_sum({site: update.losses[name] for site, update in updates.items()}, of_losses.sites)
            for name in next(iter(updates.values())).losses
        }
        return self.aggregator.aggregate(server_round, weights, updates, shares), RoundRecord(
            round=server_round,
            contributors=list(updates),
            counted=counted | dict.fromkeys(updates, server_round),
            refused=[Refusal(site=site, reason=reason) for site, reason in heard.missing.items()],
            shares=shares,
            losses=losses,
            norms=list(heard.norms.values()),
        )

    def state(self) -> dict[str, Tensor]:
        """The aggregator's."""
        return self.aggregator.state()

    def restore(self, weights: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
        """Takes up the aggregator's state."""
        self.aggregator.restore(state)

    def _shares(
        self, server_round: int, keys: Iterable[str], sites: Iterable[str], examples: Mapping[str, float]
    ) -> list[Shares]:
        """How much each of ``sites`` counts in the average of each network; without those that count 0."""
        weights = {}
        for network in sorted({key.partition(".")[0] for key in keys}):
            given = examples if self.weighting is None else self.weighting(network)
            weights[network] = {site: given[site] for site in sites if given.get(site, 0) > 0}
            if not weights[network]:
                raise StudyError(
                    f"round {server_round}: none of the sites that replied trains {network}; resume the run"
                )
        return shares_of(weights)
