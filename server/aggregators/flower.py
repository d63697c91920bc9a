"""Flower's own strategies as aggregators, with what they keep between rounds."""

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any, cast

import flwr.serverapp.strategy as flower
import numpy as np
import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.app.exception import AppExitException
from flwr.serverapp import Grid
from torch import Tensor

from common.errors import StudyError
from common.protocol.records import ARRAYS, METRICS, NUM_EXAMPLES, from_arrays, to_arrays, training_metrics
from common.results.shares import Shares
from common.training.finite import all_finite
from server.aggregators.aggregator import Aggregator, Update, Updates, Weights

_NO_GRID = cast(Grid, None)
"""A strategy that samples nobody asks no grid."""

_KEPT = {"m_t": dict, "v_t": dict, "momentum_vector": list}
"""What Flower's strategies keep between rounds, by attribute: arrays by name, or in the order of the weights."""


class FlowerAggregator(Aggregator):
    """A strategy of Flower, e.g. ``FedAdam``: its checks, its arithmetic and its state.

    Networks in which sites count alike are aggregated together, the others each over its own sites. Who is asked, and
    for how long is waited, is the round loop's.

    Args:
        strategy: with its hyperparameters; it is left unchanged.
    """

    def __init__(self, strategy: flower.FedAvg) -> None:
        self._strategy, self._name = copy(strategy), type(strategy).__name__
        self._strategy.fraction_train = 0.0  # configure_train then takes note of the weights and samples nobody
        self._state: dict[str, Tensor] = {}

    def instructions(self) -> Mapping[str, Any]:
        config = ConfigRecord()
        copy(self._strategy).configure_train(0, ArrayRecord(), config, _NO_GRID)
        return dict(config)

    def aggregate(self, server_round: int, current: Weights, updates: Updates, shares: Sequence[Shares]) -> Weights:
        made: dict[str, Tensor] = {}
        for one in shares:
            weights = {key: current[key] for key in sorted(current) if key.partition(".")[0] in one.networks}
            replies = [_reply(updates[site], weights, share) for site, share in one.sites.items()]
            try:
                made |= self._step(server_round, weights, replies)
            except AppExitException as error:
                raise StudyError(f"round {server_round}: {self._name} aggregates nothing: {error}") from error
        if not all_finite(made.values()):
            raise StudyError(f"round {server_round}: {self._name} came to values that are not finite")
        # The adaptive strategies compute in double precision.
        return {key: made[key].to(current[key].dtype) for key in sorted(current)}

    def state(self) -> dict[str, Tensor]:
        """Momenta, as ``<attribute of the strategy>.<network>.<key>``."""
        return dict(self._state)

    def restore(self, state: Mapping[str, Tensor]) -> None:
        if other := {name.partition(".")[0] for name in state} - vars(self._strategy).keys():
            raise StudyError(
                f"the checkpoint holds {', '.join(other)}, which {self._name} does not keep; start a new run"
            )
        self._state = dict(state)

    def _step(self, server_round: int, weights: Weights, replies: list[Message]) -> dict[str, Tensor]:
        """The strategy's step on some of the networks, by a copy that holds what was kept of these."""
        strategy = copy(self._strategy)
        for name, kind in _KEPT.items():
            if own := {key: self._state[f"{name}.{key}"].numpy() for key in weights if f"{name}.{key}" in self._state}:
                setattr(strategy, name, own if kind is dict else list(own.values()))
        strategy.configure_train(server_round, to_arrays(weights), ConfigRecord(), _NO_GRID)
        before = dict(vars(strategy))
        with np.errstate(all="ignore"):  # what is not finite is refused afterwards
            arrays, _ = strategy.aggregate_train(server_round, replies)
        changed = {name: value for name, value in vars(strategy).items() if value is not before.get(name)}
        changed.pop("current_arrays", None)  # the weights themselves
        if arrays is None or not changed.keys() <= _KEPT.keys():
            raise StudyError(f"{self._name} aggregates nothing or keeps what no checkpoint holds: {', '.join(changed)}")
        for name, value in changed.items():
            named = value if _KEPT[name] is dict else dict(zip(weights, value, strict=True))
            self._state |= {f"{name}.{key}": torch.from_numpy(np.asarray(array)) for key, array in named.items()}
        return from_arrays(arrays)


def _reply(update: Update, keys: Weights, share: float) -> Message:
    """An update as Flower's strategies take it: some of its arrays, and how much they count."""
    metrics = MetricRecord({**training_metrics(1, update.losses), NUM_EXAMPLES: share})
    content = RecordDict({ARRAYS: to_arrays({key: update.arrays[key] for key in keys}), METRICS: metrics})
    return Message(content, dst_node_id=0, message_type=MessageType.TRAIN)
