"""Rounds of many exchanges: sites send gradients, the coordinator takes the optimiser's steps (Song & Ye 2021)."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from common.errors import StudyError
from common.results.shares import Shares
from common.results.study import Refusal
from common.training.finite import all_finite
from common.training.kinds import GradientTrainer
from common.training.trainer import Contributor
from server.round_record import RoundRecord, last_counted
from server.rounds import FederatedTraining
from server.site_weights import mean_shares, shares_of


class Gradients:
    """A round of ``exchanges`` steps that all sites take together.

    Every step needs every kind of site, so that one which is missing ends the round; what was learnt since the last
    finished round is lost, and a resumed run goes on from there.

    Args:
        trainer: the coordinator's own; it holds the weights and the optimisers.
        sites: what each site shows, and what it counts in averages.
        exchanges: steps in a round.

    Raises:
        StudyError: if ``exchanges`` is 0: a pass over the data has no length that all sites share.
    """

    def __init__(self, trainer: GradientTrainer[Any], sites: Mapping[str, Contributor], exchanges: int) -> None:
        if exchanges < 1:
            raise StudyError(
                "federation.local_steps=0: sites that exchange gradients take every step together; write the number of "
                "steps of a round"
            )
        self.trainer, self.sites, self.exchanges = trainer, sites, exchanges

    def round(
        self, training: FederatedTraining, server_round: int, weights: dict[str, Tensor], records: list[RoundRecord]
    ) -> tuple[dict[str, Tensor], RoundRecord]:
        """All steps of one round; its losses are means over steps and sites.

        Raises:
            StudyError: if a kind of site is missing, or the coordinator's own step is no number any more.
        """
        self.trainer.load_shared_arrays(weights)
        previous = records[-1].norms if records else []
        # Gradients of adversarial losses vary far more from step to step than the updates of whole rounds.
        bound = training.norm_bound([max(previous)] if previous else [], weights)
        counted = last_counted(records)
        totals: dict[str, float] = defaultdict(float)
        norms: list[float] = []
        shares: list[list[Shares]] = []
        refused: dict[str, str] = {}
        for step in range(self.exchanges):
            number = (server_round - 1) * self.exchanges + step + 1
            expected = self.trainer.expected_contribution()
            heard = training.hear(number, self.trainer.shared_arrays(), expected, bound, counted)
            counted |= dict.fromkeys(heard.updates, number)
            refused |= heard.missing
            there = {site: self.sites[site] for site in heard.updates}
            self.trainer.check_views(self.trainer.config, {site: one.view for site, one in there.items()})
            self.trainer.absorb({site: update.arrays for site, update in heard.updates.items()}, there)
            self._require_finite(training, number)
            networks = self.trainer.shared_networks()
            shares.append(shares_of({name: self.trainer.averaging_weights(name, there) for name in networks}))
            norms += heard.norms.values()
            for update in heard.updates.values():
                for name, value in update.losses.items():
                    totals[name] += value / len(heard.updates) / self.exchanges
        return self.trainer.shared_arrays(), RoundRecord(
            round=server_round,
            contributors=sorted(set(self.sites) - set(refused)),
            counted=counted,
            refused=[Refusal(site=site, reason=reason) for site, reason in refused.items()],
            shares=mean_shares(shares),
            losses=dict(totals),
            norms=norms,
        )

    def state(self) -> dict[str, Tensor]:
        """The coordinator's optimisers."""
        return self.trainer.private_state()

    def restore(self, weights: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
        """Takes up weights and optimisers."""
        self.trainer.load_shared_arrays(weights)
        self.trainer.load_private_state(state)

    def _require_finite(self, training: FederatedTraining, number: int) -> None:
        """What every site sent was finite; what became of it in the coordinator's own step may have overflowed.

        Raises:
            StudyError: naming the key that helps; the last finished round is what is on disk.
        """
        if not all_finite([*self.trainer.shared_arrays().values(), *self.trainer.private_state().values()]):
            raise StudyError(
                f"{training.asked.phase}, step {number}: the coordinator's own step came to values that are not finite"
                f"; lower the learning rates of models.{training.asked.model} in a new run"
            )
