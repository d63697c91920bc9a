"""Each network's average counts the sites that train it."""

from collections.abc import Mapping

import pytest
import torch
from flwr.app import Message, RecordDict
from torch import Tensor

from common.errors import StudyError
from common.protocol.records import ARRAYS, METRICS, from_arrays, read_losses, to_arrays, training_metrics
from common.study.experiment import StrategyConfig
from server.averaging import aggregate
from server.strategy import build_strategy
from simulation.grid import InProcessGrid

VALUES = {"north": 1.0, "south": 3.0, "west": 11.0}
EXAMPLES = {"north": 10, "south": 30, "west": 10}


@pytest.fixture
def replies() -> dict[str, Message]:
    InProcessGrid(None, [])  # type: ignore[arg-type]  # stamps messages with an identity

    def reply(site: str) -> Message:
        arrays = {"generator.w": torch.full((2,), VALUES[site]), "discriminator_a.w": torch.full((3,), -VALUES[site])}
        metrics = training_metrics(EXAMPLES[site], {"l1": VALUES[site]})
        return Message(RecordDict({ARRAYS: to_arrays(arrays), METRICS: metrics}), dst_node_id=1, message_type="train")

    return {site: reply(site) for site in VALUES}


def averaged(replies: dict[str, Message], weights: Mapping[str, Mapping[str, float]] | None) -> dict[str, Tensor]:
    strategy = build_strategy(StrategyConfig())
    arrays, metrics, _ = aggregate(strategy, 1, replies, EXAMPLES, None if weights is None else weights.__getitem__)
    assert read_losses(metrics) == pytest.approx({"l1": (10 * 1 + 30 * 3 + 10 * 11) / 50})
    return from_arrays(arrays)


def test_without_weights_of_networks_the_examples_count(replies):
    result = averaged(replies, None)
    assert result["generator.w"].tolist() == pytest.approx([4.2, 4.2])
    assert result["discriminator_a.w"].tolist() == pytest.approx([-4.2] * 3)


def test_each_network_is_averaged_over_the_sites_that_train_it(replies):
    weights = {
        "generator": {"north": 0.25, "south": 0.25, "west": 0.5},
        "discriminator_a": {"north": 3.0, "south": 1.0, "west": 0.0},
    }
    result = averaged(replies, weights)
    assert result["generator.w"].tolist() == pytest.approx([0.25 + 0.75 + 5.5] * 2)
    assert result["discriminator_a.w"].tolist() == pytest.approx([-1.5] * 3)


def test_a_network_that_nobody_trained_stops_the_round(replies):
    weights = {"generator": dict.fromkeys(VALUES, 1.0), "discriminator_a": {"east": 1.0}}
    with pytest.raises(StudyError, match="none of the sites that replied trains discriminator_a"):
        averaged(replies, weights)
