"""Aggregation: Flower's own strategies, fed only with replies that passed every check."""

import math
import statistics
from collections.abc import Mapping

from flwr.serverapp.strategy import FedAvg, FedProx, Strategy
from torch import Tensor

from common.errors import ConfigError
from common.study.experiment import StrategyConfig


def build_strategy(config: StrategyConfig) -> Strategy:
    """The Flower strategy that ``config`` names.

    It sees exactly the sites that were chosen for the task (see ``SiteGrid``), so its own minimum is one; deadline and
    quorum are ours, because Flower's wait for ever and go on without a valid reply.
    """
    if config.name == "fedavg":
        return FedAvg(min_train_nodes=1, min_evaluate_nodes=1, min_available_nodes=1)
    if config.name == "fedprox":
        return FedProx(min_train_nodes=1, min_evaluate_nodes=1, min_available_nodes=1, proximal_mu=config.proximal_mu)
    raise ConfigError(f"strategy.name={config.name}: fedavg or fedprox")


def norm_bound(config: StrategyConfig, previous: list[float], reference: Mapping[str, Tensor]) -> float:
    """The largest update norm that is accepted in the coming round.

    ``strategy.norm_bound`` times the median update of the previous round. Before there is one, times the norm of the
    weights themselves: a first update that moves further than that is not training.
    """
    if previous:
        return config.norm_bound * statistics.median(previous)
    total = sum(float(tensor.double().square().sum()) for tensor in reference.values())
    return config.norm_bound * max(math.sqrt(total), 1.0)
