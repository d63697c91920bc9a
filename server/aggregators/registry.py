"""The aggregator of each ``strategy.name``."""

from collections.abc import Callable

from common.study.experiment import StrategyConfig
from server.aggregators.aggregator import Aggregator
from server.aggregators.fedavg import FedAvg
from server.aggregators.fedprox import FedProx

AGGREGATORS: dict[str, Callable[[StrategyConfig], Aggregator]] = {
    "fedavg": lambda config: FedAvg(),
    "fedprox": lambda config: FedProx(config.proximal_mu),
}


def build_aggregator(config: StrategyConfig) -> Aggregator:
    """A new aggregator for one training."""
    return AGGREGATORS[config.name](config)
