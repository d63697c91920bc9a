"""Each network's average counts the sites that train it."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from flwr.app import RecordDict
from scripted_grid import SITES, ScriptedGrid
from scripted_training import member, training
from torch import Tensor

from common.errors import StudyError
from common.protocol.records import ARRAYS, CONFIG, METRICS, Instruction, reply_record, to_arrays, training_metrics
from common.study.experiment import StrategyConfig
from server.aggregators.fedavg import FedAvg
from server.averaging import Averaging

VALUES = dict(zip(SITES, (1.0, 3.0, 11.0), strict=True))
EXAMPLES = dict(zip(SITES, (10, 30, 10), strict=True))
INITIAL = {"generator.w": torch.zeros(2), "discriminator_a.w": torch.zeros(3)}


def behave(site: str, instruction: Instruction, arrays: dict[str, Tensor]) -> RecordDict:
    arrays = {"generator.w": torch.full((2,), VALUES[site]), "discriminator_a.w": torch.full((3,), -VALUES[site])}
    metrics = training_metrics(EXAMPLES[site], {"l1": VALUES[site]})
    return RecordDict({ARRAYS: to_arrays(arrays), METRICS: metrics, CONFIG: reply_record(instruction, site)})


def averaged(folder: Path, weights: Mapping[str, Mapping[str, float]] | None) -> dict[str, Tensor]:
    outcome = training(
        ScriptedGrid(behave),
        folder,
        Averaging(FedAvg(), EXAMPLES, None if weights is None else weights.__getitem__),
        rounds=1,
        config=StrategyConfig(norm_bound=1e3),
        members=[member(site, EXAMPLES[site]) for site in SITES],
    ).train(INITIAL)
    assert outcome.records[0].losses == pytest.approx({"l1": (10 * 1 + 30 * 3 + 10 * 11) / 50})
    return outcome.weights


def test_without_weights_of_networks_the_examples_count(tmp_path: Path) -> None:
    result = averaged(tmp_path, None)
    assert result["generator.w"].tolist() == pytest.approx([4.2, 4.2])
    assert result["discriminator_a.w"].tolist() == pytest.approx([-4.2] * 3)


def test_each_network_is_averaged_over_the_sites_that_train_it(tmp_path: Path) -> None:
    weights = {
        "generator": {"hospital1": 0.25, "hospital2": 0.25, "hospital3": 0.5},
        "discriminator_a": {"hospital1": 3.0, "hospital2": 1.0, "hospital3": 0.0},
    }
    result = averaged(tmp_path, weights)
    assert result["generator.w"].tolist() == pytest.approx([0.25 + 0.75 + 5.5] * 2)
    assert result["discriminator_a.w"].tolist() == pytest.approx([-1.5] * 3)


def test_a_network_that_nobody_trained_stops_the_round(tmp_path: Path) -> None:
    weights = {"generator": dict.fromkeys(VALUES, 1.0), "discriminator_a": {"hospital4": 1.0}}
    with pytest.raises(StudyError, match="none of the sites that replied trains discriminator_a"):
        averaged(tmp_path, weights)
