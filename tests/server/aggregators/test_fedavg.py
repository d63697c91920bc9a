"""FedAvg and FedProx compute what Flower's do, to the last bit."""

import flwr.serverapp.strategy as flower
import pytest
import torch
from scripted_grid import SITES, ScriptedGrid, reply
from scripted_training import training
from site_updates import EXAMPLES, flower_messages, updates, weights
from torch import Tensor

from common.errors import StudyError
from common.protocol.records import Instruction, from_arrays, read_losses
from common.study.experiment import StrategyConfig
from server.aggregators.fedavg import FedAvg, weighted_sum
from server.aggregators.registry import AGGREGATORS, build_aggregator
from server.averaging import Averaging
from server.site_weights import shares_of


@pytest.mark.parametrize("seed", range(20))
def test_weights_and_losses_are_those_of_flowers_average_bit_for_bit(seed: int) -> None:
    current = weights(seed)
    given = updates(current, seed)
    arrays, metrics = flower.FedAvg().aggregate_train(1, flower_messages(given))
    assert arrays is not None
    assert metrics is not None
    shares = shares_of(dict.fromkeys(("discriminator", "generator"), EXAMPLES))
    made, expected = FedAvg().aggregate(1, current, given, shares), from_arrays(arrays)
    assert list(made) == sorted(current)
    for key, value in expected.items():
        assert made[key].dtype == value.dtype == torch.float32
        assert made[key].shape == value.shape
        assert torch.equal(made[key], value), key
    losses = {site: update.losses["l1"] for site, update in given.items()}
    assert {"l1": weighted_sum(losses, shares[0].sites)} == read_losses(metrics)


def test_what_sites_sent_is_left_as_it_was() -> None:
    current = weights(1)
    given, again = updates(current, 1), updates(current, 1)
    FedAvg().aggregate(1, current, given, shares_of(dict.fromkeys(("discriminator", "generator"), EXAMPLES)))
    for site, update in given.items():
        assert all(torch.equal(update.arrays[key], again[site].arrays[key]) for key in current)


def test_sites_are_told_the_proximal_term_by_fedprox_alone(tmp_path) -> None:
    told: list[float] = []

    def behave(site: str, instruction: Instruction, arrays: dict[str, Tensor]):
        told.append(instruction.proximal_mu)
        return reply(site, instruction, arrays)

    for name in ("fedavg", "fedprox"):
        aggregator = build_aggregator(StrategyConfig(name=name, proximal_mu=0.25))
        training(ScriptedGrid(behave), tmp_path / name, Averaging(aggregator), rounds=1).train(weights(1))
    assert told == [0.0] * len(SITES) + [0.25] * len(SITES)


def test_every_strategy_that_can_be_chosen_has_an_aggregator() -> None:
    allowed = next(iter(StrategyConfig.__dataclass_fields__["name"].metadata.values()))
    assert allowed.words == "one of " + ", ".join(AGGREGATORS)


def test_state_of_another_strategy_is_refused() -> None:
    with pytest.raises(StudyError, match="FedAvg keeps none; start a new run"):
        FedAvg().restore({"m_t.generator.w": torch.zeros(2)})
