"""The round loop: quorum, refusals, order of arrival, choice of a round, resumption."""

from collections.abc import Callable
from pathlib import Path

import pytest
import scripted_training
import torch
from flwr.app import Array, RecordDict
from flwr.serverapp import Grid
from scripted_grid import SITES, ScriptedGrid, reply
from scripted_training import member
from torch import Tensor

from common.errors import StudyError
from common.protocol.records import ARRAYS, METRICS, Instruction
from common.results.study import Refusal
from common.study.experiment import StrategyConfig
from server.aggregators.fedavg import FedAvg
from server.averaging import Averaging
from server.rounds import FederatedTraining, Scored, nothing_scored
from server.site_weights import site_weights


def towards(site: str, instruction: Instruction, arrays: dict[str, Tensor]) -> RecordDict:
    """Each site moves the weights by its own step."""
    step = {"hospital1": 0.1, "hospital2": 0.2, "hospital3": 0.6}[site]
    return reply(site, instruction, {name: tensor + step for name, tensor in arrays.items()})


INITIAL = {"generator.w": torch.zeros(4), "discriminator.w": torch.ones(2, 2)}


def training(
    grid: Grid,
    folder: Path,
    *,
    rounds: int = 2,
    quorum: int = 2,
    deadline: float = 5.0,
    score: Callable[[int, dict[str, Tensor]], Scored] = nothing_scored,
    examples: tuple[int | None, int | None, int | None] = (None, None, None),
) -> FederatedTraining:
    members = [member(site, n) for site, n in zip(SITES, examples, strict=True)]
    return scripted_training.training(
        grid,
        folder,
        Averaging(FedAvg(), site_weights(members).examples),
        rounds=rounds,
        config=StrategyConfig(quorum=quorum, deadline=deadline),
        members=members,
        score=score,
    )


def test_weights_are_averaged_and_contributors_reported(tmp_path: Path) -> None:
    outcome = training(ScriptedGrid(towards), tmp_path).train(INITIAL)
    assert torch.allclose(outcome.weights["generator.w"], torch.full((4,), 0.6))
    assert [record.contributors for record in outcome.records] == [list(SITES)] * 2
    assert outcome.records[0].losses["l1"] == pytest.approx((0.4 + 0.8 + 2.4) / 3)


def test_the_average_is_weighted_by_the_declared_examples(tmp_path: Path) -> None:
    weights = {"hospital1": 1, "hospital2": 1, "hospital3": 2}

    def behave(site: str, instruction: Instruction, arrays: dict[str, Tensor]) -> RecordDict:
        content = towards(site, instruction, arrays)
        content[METRICS]["num-examples"] = weights[site]
        return content

    outcome = training(ScriptedGrid(behave), tmp_path, rounds=1, examples=(1, 1, 2)).train(INITIAL)
    assert torch.allclose(outcome.weights["generator.w"], torch.full((4,), (0.1 + 0.2 + 2 * 0.6) / 4))
    (shares,) = outcome.shares
    assert shares.sites == {"hospital1": 0.25, "hospital2": 0.25, "hospital3": 0.5}


def test_all_sites_count_alike_unless_each_declares_a_number(tmp_path: Path) -> None:
    def behave(site: str, instruction: Instruction, arrays: dict[str, Tensor]) -> RecordDict:
        content = towards(site, instruction, arrays)
        content[METRICS]["num-examples"] = {"hospital1": 48, "hospital2": 1, "hospital3": 48}[site]
        return content

    outcome = training(ScriptedGrid(behave), tmp_path, rounds=1, examples=(48, None, 48)).train(INITIAL)
    assert torch.allclose(outcome.weights["generator.w"], torch.full((4,), (0.1 + 0.2 + 0.6) / 3))
    assert outcome.records[0].losses["l1"] == pytest.approx((0.4 + 0.8 + 2.4) / 3)
    (shares,) = outcome.shares
    assert shares.sites == pytest.approx(dict.fromkeys(SITES, 1 / 3))
    assert shares.networks == ["discriminator", "generator"]


def test_a_site_that_is_lost_in_a_round_leaves_its_share_to_the_others(tmp_path: Path) -> None:
    weights = {"hospital1": 1, "hospital2": 3, "hospital3": 4}

    def behave(site: str, instruction: Instruction, arrays: dict[str, Tensor]) -> RecordDict | str:
        if site == "hospital3" and instruction.server_round == 2:
            return "it ran out of memory"
        content = towards(site, instruction, arrays)
        content[METRICS]["num-examples"] = weights[site]
        return content

    outcome = training(ScriptedGrid(behave), tmp_path, examples=(1, 3, 4)).train(INITIAL)
    shares = [record.shares[0].sites for record in outcome.records]
    assert shares == [
        {"hospital1": 0.125, "hospital2": 0.375, "hospital3": 0.5},
        {"hospital1": 0.25, "hospital2": 0.75},
    ]
    assert outcome.shares[0].sites == {"hospital1": 0.1875, "hospital2": 0.5625, "hospital3": 0.25}
    first = (0.1 + 3 * 0.2 + 4 * 0.6) / 8
    assert torch.allclose(outcome.weights["generator.w"], torch.full((4,), first + (0.1 + 3 * 0.2) / 4))


def test_a_round_goes_on_without_a_site_that_fails_and_names_it(tmp_path: Path) -> None:
    def behave(site: str, instruction: Instruction, arrays: dict[str, Tensor]) -> RecordDict | str:
        return "hospital2: it ran out of memory" if site == "hospital2" else towards(site, instruction, arrays)

    record = training(ScriptedGrid(behave), tmp_path, rounds=1).train(INITIAL).records[0]
    assert record.contributors == ["hospital1", "hospital3"]
    assert record.refused == [Refusal(site="hospital2", reason='"it ran out of memory"')]


def test_a_poisoned_update_is_refused_and_its_sender_named(tmp_path: Path) -> None:
    def behave(site: str, instruction: Instruction, arrays: dict[str, Tensor]) -> RecordDict:
        content = towards(site, instruction, arrays)
        if site == "hospital3":
            content[ARRAYS]["generator.w"] = Array(torch.full((4,), float("nan")).numpy())
        return content

    outcome = training(ScriptedGrid(behave), tmp_path, rounds=1).train(INITIAL)
    assert outcome.records[0].refused[0].site == "hospital3"
    assert "not finite" in outcome.records[0].refused[0].reason
    assert torch.allclose(outcome.weights["generator.w"], torch.full((4,), 0.15))


def test_a_sudden_large_update_is_refused_by_the_previous_rounds_norms(tmp_path: Path) -> None:
    def behave(site: str, instruction: Instruction, arrays: dict[str, Tensor]) -> RecordDict:
        if site == "hospital1" and instruction.server_round == 2:
            return reply(site, instruction, {name: tensor + 9.0 for name, tensor in arrays.items()})
        return towards(site, instruction, arrays)

    outcome = training(ScriptedGrid(behave), tmp_path).train(INITIAL)
    assert outcome.records[0].refused == []
    assert "exceeds the bound" in outcome.records[1].refused[0].reason


def test_each_site_is_told_its_last_round_that_counted_also_by_a_resumed_coordinator(tmp_path: Path) -> None:
    told: dict[str, list[tuple[int, int]]] = {site: [] for site in SITES}

    def behave(site: str, instruction: Instruction, arrays: dict[str, Tensor]) -> RecordDict | None:
        told[site].append((instruction.server_round, instruction.counted))
        if site == "hospital1" and instruction.server_round in (2, 3):
            return reply(site, instruction, {name: tensor + 90.0 for name, tensor in arrays.items()})
        return None if site == "hospital3" and instruction.server_round == 1 else towards(site, instruction, arrays)

    training(ScriptedGrid(behave), tmp_path, rounds=3, deadline=0.1).train(INITIAL)
    records = training(ScriptedGrid(behave), tmp_path, rounds=5).train(INITIAL).records
    assert told == {
        "hospital1": [(1, 0), (2, 1), (3, 1), (4, 1), (5, 4)],
        "hospital2": [(1, 0), (2, 1), (3, 2), (4, 3), (5, 4)],
        "hospital3": [(1, 0), (2, 0), (3, 2), (4, 3), (5, 4)],
    }
    assert "exceeds the bound" in records[2].refused[0].reason


def test_a_missed_quorum_stops_the_study_and_names_every_missing_site(tmp_path: Path) -> None:
    def behave(site: str, instruction: Instruction, arrays: dict[str, Tensor]) -> RecordDict | str | None:
        return {"hospital1": towards(site, instruction, arrays), "hospital2": "it failed", "hospital3": None}[site]

    with pytest.raises(StudyError) as stop:
        training(ScriptedGrid(behave), tmp_path, deadline=0.1).train(INITIAL)
    text = str(stop.value)
    assert "1 of 3 sites replied, 2 are needed" in text
    assert 'hospital2: "it failed"' in text
    assert "hospital3: no reply within 0 s" in text


def test_the_best_scored_round_is_chosen_and_its_weights_kept(tmp_path: Path) -> None:
    choices = {1: 0.2, 2: 0.9, 3: 0.5}

    def score(server_round: int, weights: dict[str, Tensor]) -> Scored:
        return Scored(choice=choices[server_round])

    outcome = training(ScriptedGrid(towards), tmp_path, rounds=3, score=score).train(INITIAL)
    assert outcome.chosen_round == 2
    assert torch.allclose(outcome.weights["generator.w"], torch.full((4,), 0.6))


def test_a_stopped_training_goes_on_after_its_last_finished_round(tmp_path: Path) -> None:
    whole = training(ScriptedGrid(towards), tmp_path / "whole", rounds=4).train(INITIAL)
    training(ScriptedGrid(towards), tmp_path / "parts", rounds=2).train(INITIAL)
    grid = ScriptedGrid(towards)
    rest = training(grid, tmp_path / "parts", rounds=4).train(INITIAL)
    assert sorted({server_round for _, server_round in grid.asked}) == [3, 4]
    assert all(torch.equal(rest.weights[name], whole.weights[name]) for name in INITIAL)
    assert len(rest.records) == 4
