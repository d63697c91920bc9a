"""Rounds that average weights; where sites do not all train the same networks, each network's average is its own."""

from collections.abc import Callable, Mapping

from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import Strategy
from torch import Tensor

from common.errors import StudyError
from common.protocol.records import (
    ARRAYS,
    CONFIG,
    METRICS,
    NUM_EXAMPLES,
    from_arrays,
    instruction_record,
    read_losses,
    to_arrays,
)
from common.results.shares import Shares
from common.results.study import Refusal
from common.study.experiment import StrategyConfig
from server.roster import SiteGrid
from server.round_record import RoundRecord, last_counted
from server.rounds import FederatedTraining
from server.site_weights import shares_of
from server.strategy import build_strategy, norm_bound

Weighting = Callable[[str], Mapping[str, float]]
"""How much each site counts in the average of a network, by the network's name."""


class Averaging:
    """A round of local training everywhere, averaged by one of Flower's strategies.

    Args:
        config: which strategy.
        examples: by site, what it counts in averages (:mod:`server.site_weights`); None: all alike. What a reply says
            of itself does not count.
        weighting: how much each site counts in the average of a network, where that is not by ``examples``.
    """

    def __init__(
        self, config: StrategyConfig, examples: Mapping[str, float] | None = None, weighting: Weighting | None = None
    ) -> None:
        self.strategy = build_strategy(config)
        self.examples, self.weighting = examples, weighting

    def round(
        self,
        training: FederatedTraining,
        server_round: int,
        weights: dict[str, Tensor],
        records: list[RoundRecord],
    ) -> tuple[dict[str, Tensor], RoundRecord]:
        """Sends ``weights`` out and averages what comes back."""
        bound = norm_bound(training.config, records[-1].norms if records else [], weights)
        counted = last_counted(records)
        heard = training.hear(server_round, self._questions(training, server_round, weights), weights, bound, counted)
        # The strategy takes each reply's one ArrayRecord and MetricRecord; sorted by site, so the sum is reproducible.
        examples = self.examples or dict.fromkeys(heard.messages, 1.0)
        averaged, metrics, shares = aggregate(self.strategy, server_round, heard.messages, examples, self.weighting)
        return from_arrays(averaged), RoundRecord(
            round=server_round,
            contributors=list(heard.messages),
            counted={**counted, **dict.fromkeys(heard.messages, server_round)},
            refused=[Refusal(site=site, reason=reason) for site, reason in heard.missing.items()],
            shares=shares,
            losses=read_losses(metrics),
            norms=list(heard.norms.values()),
        )

    def state(self) -> dict[str, Tensor]:
        """Nothing: the strategies that can be chosen remember nothing between rounds."""
        return {}

    def restore(self, weights: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
        """Nothing to take up."""

    def _questions(
        self, training: FederatedTraining, server_round: int, weights: Mapping[str, Tensor]
    ) -> dict[str, Message]:
        """The strategy's messages, addressed to our named action (Flower's would be a plain ``train``)."""
        site_of = {member.node_id: member.site for member in training.members}
        messages = self.strategy.configure_train(
            server_round,
            to_arrays(weights),
            instruction_record(training.instruction(server_round)),
            SiteGrid(training.grid, training.members),
        )
        return {
            site_of[message.metadata.dst_node_id]: Message(
                RecordDict({ARRAYS: message.content[ARRAYS], CONFIG: message.content[CONFIG]}),
                dst_node_id=message.metadata.dst_node_id,
                message_type=training.action,
                group_id=str(server_round),
            )
            for message in messages
        }


def aggregate(
    strategy: Strategy,
    server_round: int,
    replies: Mapping[str, Message],
    examples: Mapping[str, float],
    weighting: Weighting | None = None,
) -> tuple[ArrayRecord, MetricRecord, list[Shares]]:
    """What ``strategy`` makes of the replies: the average of each network and of the losses, and each site's shares.

    Args:
        strategy: one of Flower's; it sees the replies of the sites that count, weighted as asked.
        replies: checked replies by site, in the order in which they are summed.
        examples: what each site counts in the average of the losses, and of the networks if ``weighting`` is None.
        weighting: what it counts in the average of a network.

    Raises:
        StudyError: if no site that replied counts for a network.
    """
    networks: dict[str, list[str]] = {}
    for key in next(iter(replies.values())).content.array_records[ARRAYS]:
        networks.setdefault(key.partition(".")[0], []).append(key)
    weights: dict[str, dict[str, float]] = {}
    for network in sorted(networks):
        given = examples if weighting is None else weighting(network)
        weights[network] = {site: given[site] for site in replies if given.get(site, 0) > 0}
        if not weights[network]:
            raise StudyError(f"round {server_round}: none of the sites that replied trains {network}; resume the run")
    shares, arrays, losses = shares_of(weights), ArrayRecord(), None
    of_losses = {site: examples[site] for site in replies}
    for one in shares:
        keys, of_sites = [key for network in one.networks for key in networks[network]], weights[one.networks[0]]
        averaged, metrics = _of(strategy, server_round, _parts(replies, keys, of_sites))
        arrays.update(averaged)
        losses = metrics if of_sites == of_losses else losses
    if losses is None:
        # A strategy averages losses beside arrays only: any one will do.
        _, losses = _of(strategy, server_round, _parts(replies, next(iter(networks.values()))[:1], of_losses))
    return arrays, losses, shares


def _of(strategy: Strategy, server_round: int, messages: list[Message]) -> tuple[ArrayRecord, MetricRecord]:
    arrays, metrics = strategy.aggregate_train(server_round, messages)
    if arrays is None:
        raise StudyError(f"round {server_round}: {type(strategy).__name__} aggregated nothing")
    return arrays, metrics or MetricRecord()


def _parts(replies: Mapping[str, Message], keys: list[str], weights: Mapping[str, float]) -> list[Message]:
    return [_part(replies[site], keys, weight) for site, weight in weights.items()]


def _part(message: Message, keys: list[str], weight: float) -> Message:
    """The same reply with some of its arrays, and another weight."""
    whole = message.content
    metrics = MetricRecord({**whole.metric_records[METRICS], NUM_EXAMPLES: weight})
    arrays = ArrayRecord({key: whole.array_records[ARRAYS][key] for key in keys})
    return Message(
        RecordDict({ARRAYS: arrays, METRICS: metrics}),
        dst_node_id=message.metadata.dst_node_id,
        message_type=message.metadata.message_type,
    )
