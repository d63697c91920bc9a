"""Flower's strategies as aggregators: their arithmetic, and their momenta over networks, rounds and interruptions."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import flwr.serverapp.strategy as flower
import numpy as np
import pytest
import torch
from flwr.app import ConfigRecord
from flwr.supercore.task_identity import TaskIdentity
from scripted_grid import SITES, ScriptedGrid, reply
from scripted_training import training
from site_updates import EXAMPLES, flower_messages, updates, weights
from torch import Tensor

from common.errors import StudyError
from common.protocol.records import Instruction, from_arrays, to_arrays
from server.aggregators.aggregator import Update
from server.aggregators.fedavg import FedAvg
from server.aggregators.flower import FlowerAggregator
from server.averaging import Averaging
from server.checkpoint import PhaseCheckpoints
from server.site_weights import shares_of

ALIKE = shares_of(dict.fromkeys(("discriminator", "generator"), EXAMPLES))
STATEFUL: dict[str, Callable[[], flower.FedAvg]] = {
    "FedAdam": lambda: flower.FedAdam(eta=0.1, beta_1=0.9, beta_2=0.99),
    "FedYogi": lambda: flower.FedYogi(eta=0.1),
    "FedAdagrad": lambda: flower.FedAdagrad(eta=0.1),
    "FedAvgM": lambda: flower.FedAvgM(server_learning_rate=0.7, server_momentum=0.9),
}
STRATEGIES: dict[str, Callable[[], flower.FedAvg]] = {
    **STATEFUL,
    "FedAvg": flower.FedAvg,
    "FedMedian": flower.FedMedian,
    "FedTrimmedAvg": lambda: flower.FedTrimmedAvg(beta=0.34),
    "QFedAvg": lambda: flower.QFedAvg(client_learning_rate=0.1, q=0.5, train_loss_key="loss.l1"),
    "Krum": lambda: flower.Krum(num_malicious_nodes=0),
}


@pytest.fixture(autouse=True)
def as_a_task() -> None:
    """Flower stamps every message with the task that makes it, which a ServerApp is and a test is not."""
    TaskIdentity.run_id = TaskIdentity.task_id = TaskIdentity.node_id = 1


def by_flower(strategy: flower.FedAvg, rounds: int) -> dict[str, Tensor]:
    """What the strategy itself makes of ``rounds`` rounds of all arrays together."""
    strategy.fraction_train = 0.0
    current = weights(0)
    for server_round in range(1, rounds + 1):
        given = updates(current, server_round)
        strategy.configure_train(server_round, to_arrays(current), ConfigRecord(), None)  # type: ignore[arg-type]
        arrays, _ = strategy.aggregate_train(server_round, flower_messages(given))
        assert arrays is not None
        current = {key: value.float() for key, value in from_arrays(arrays).items()}
    return current


def by_adapter(aggregator: FlowerAggregator, rounds: int) -> dict[str, Tensor]:
    current = weights(0)
    for server_round in range(1, rounds + 1):
        current = aggregator.aggregate(server_round, current, updates(current, server_round), ALIKE)
    return current


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_strategy_computes_what_it_computes_by_itself(name: str) -> None:
    made, expected = by_adapter(FlowerAggregator(STRATEGIES[name]()), 3), by_flower(STRATEGIES[name](), 3)
    assert made.keys() == expected.keys()
    for key, value in expected.items():
        assert made[key].dtype == torch.float32
        np.testing.assert_allclose(made[key], value, rtol=1e-5, atol=1e-6)


def test_fedadam_takes_the_first_step_of_adam() -> None:
    current, given = weights(0), updates(weights(0), 1)
    made = FlowerAggregator(flower.FedAdam(eta=0.1, beta_1=0.9, beta_2=0.99, tau=1e-3)).aggregate(
        1, current, given, ALIKE
    )
    delta = {key: value - current[key] for key, value in FedAvg().aggregate(1, current, given, ALIKE).items()}
    rate = 0.1 * (1 - 0.99**2) ** 0.5 / (1 - 0.9**2)  # Flower counts rounds from 0
    for key, value in delta.items():
        step = rate * 0.1 * value / ((0.01 * value**2).sqrt() + 1e-3)
        torch.testing.assert_close(made[key], current[key] + step)


@pytest.mark.parametrize("name", STATEFUL)
def test_each_network_has_its_own_sites_and_its_own_momenta(name: str) -> None:
    of_sites = {"discriminator": {"hospital1": 3, "hospital2": 1}, "generator": EXAMPLES}
    together, alone = FlowerAggregator(STATEFUL[name]()), FlowerAggregator(STATEFUL[name]())
    current = own = weights(0)
    for server_round in (1, 2, 3):
        given = updates(current, server_round)
        current = together.aggregate(server_round, current, given, shares_of(of_sites))
        for network, sites in of_sites.items():
            part = {key: value for key, value in own.items() if key.startswith(network)}
            seen = {site: Update({key: given[site].arrays[key] for key in part}, given[site].losses) for site in sites}
            own = own | alone.aggregate(server_round, part, seen, shares_of({network: sites}))
    assert all(torch.equal(current[key], own[key]) for key in current)
    # And another mean than where all sites count for both networks.
    alike = by_adapter(FlowerAggregator(STATEFUL[name]()), 1)["discriminator.w"]
    first = FlowerAggregator(STATEFUL[name]()).aggregate(1, weights(0), updates(weights(0), 1), shares_of(of_sites))
    assert not torch.equal(alike, first["discriminator.w"])


class Killed(BaseException):
    """The coordinator's process is gone."""


def towards(site: str, instruction: Instruction, arrays: dict[str, Tensor]) -> Any:
    step = (1 + SITES.index(site)) / (3 + instruction.server_round)
    return reply(site, instruction, {key: 0.9 * value + step for key, value in arrays.items()})


@pytest.mark.parametrize("name", STATEFUL)
def test_a_training_killed_after_round_2_of_4_ends_as_one_that_was_never_stopped(name: str, tmp_path: Path) -> None:
    def dies_in_round_3(site: str, instruction: Instruction, arrays: dict[str, Tensor]) -> Any:
        if instruction.server_round == 3:
            raise Killed
        return towards(site, instruction, arrays)

    def averaging() -> Averaging:
        return Averaging(FlowerAggregator(STATEFUL[name]()), EXAMPLES)

    whole = training(ScriptedGrid(towards), tmp_path / "whole", averaging(), rounds=4).train(weights(0))
    with pytest.raises(Killed):
        training(ScriptedGrid(dies_in_round_3), tmp_path / "parts", averaging(), rounds=4).train(weights(0))
    kept = PhaseCheckpoints(tmp_path / "parts", "gan/a")
    assert len(kept.records()) == 2
    grid = ScriptedGrid(towards)
    parts = training(grid, tmp_path / "parts", averaging(), rounds=4).train(weights(0))
    assert {server_round for _, server_round in grid.asked} == {3, 4}
    assert all(torch.equal(parts.weights[key], whole.weights[key]) for key in weights(0))
    whole_state, state = PhaseCheckpoints(tmp_path / "whole", "gan/a").state(4), kept.state(4)
    assert state.keys() == whole_state.keys()
    assert {key.partition(".")[2] for key in state} == set(weights(0))
    assert all(torch.equal(state[key], whole_state[key]) for key in state)


def test_without_its_momenta_a_resumed_training_would_end_elsewhere() -> None:
    whole, forgetful = FlowerAggregator(STATEFUL["FedAdam"]()), FlowerAggregator(STATEFUL["FedAdam"]())
    current = whole.aggregate(1, weights(0), updates(weights(0), 1), ALIKE)
    given = updates(current, 2)
    assert not torch.equal(
        whole.aggregate(2, current, given, ALIKE)["generator.w"],
        forgetful.aggregate(2, current, given, ALIKE)["generator.w"],
    )


def test_the_strategy_given_is_left_unchanged() -> None:
    strategy = flower.FedAdam()
    by_adapter(FlowerAggregator(strategy), 1)
    assert (strategy.m_t, strategy.v_t, strategy.current_arrays, strategy.fraction_train) == (None, None, None, 1.0)


def test_what_a_strategy_tells_sites_beside_weights_is_passed_on() -> None:
    assert FlowerAggregator(flower.FedProx(proximal_mu=0.5)).instructions() == {"proximal-mu": 0.5}
    assert FlowerAggregator(flower.FedAdam()).instructions() == {}


def test_a_strategy_whose_memory_no_checkpoint_could_hold_is_refused() -> None:
    class Counting(flower.FedAvg):
        rounds = 0

        def aggregate_train(self, server_round: int, replies: Any) -> Any:
            self.rounds += 1
            return super().aggregate_train(server_round, replies)

    with pytest.raises(StudyError, match=r"Counting .* keeps what no checkpoint holds: rounds"):
        by_adapter(FlowerAggregator(Counting()), 1)


def test_a_strategy_that_refuses_the_replies_ends_the_round_with_its_reason() -> None:
    with pytest.raises(StudyError, match=r"round 1: QFedAvg .*'loss.none'"):
        by_adapter(FlowerAggregator(flower.QFedAvg(0.1, 0.5, train_loss_key="loss.none")), 1)


def test_values_that_are_not_finite_end_the_round() -> None:
    with pytest.raises(StudyError, match="FedAvgM came to values that are not finite"):
        by_adapter(FlowerAggregator(flower.FedAvgM(server_learning_rate=1e39)), 1)


def test_momenta_of_another_strategy_are_refused() -> None:
    with pytest.raises(StudyError, match="the checkpoint holds m_t, which FedAvgM does not keep"):
        FlowerAggregator(flower.FedAvgM()).restore({"m_t.generator.w": torch.zeros(3, 4)})
