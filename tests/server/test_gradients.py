"""Rounds of exchanged gradients: a bad gradient of one site, and a bad step of the coordinator itself."""

from pathlib import Path

import pytest
import scripted_training
import torch
from flwr.app import RecordDict
from scripted_grid import SITES, Behaviour, ScriptedGrid
from torch import Tensor

from common.errors import StudyError
from common.protocol.records import ARRAYS, CONFIG, METRICS, Instruction, reply_record, to_arrays, training_metrics
from common.study.experiment import ImageConfig
from common.training.cyclegan import Config, DomainConfig, SideBatch, Trainer
from common.training.finite import all_finite
from common.training.trainer import Contributor, View
from server.checkpoint import PhaseCheckpoints
from server.gradients import Gradients
from server.rounds import FederatedTraining

STEPS = 2
SMALL = Config(
    domains=[DomainConfig("brain", ["t1"]), DomainConfig("brain", ["t2"])],
    exchange="gradients",
    width=4,
    blocks=1,
    discriminator_width=4,
    discriminator_layers=1,
    batch_size=2,
    ema=0.9,
)
SIDES = {"hospital1": 0, "hospital2": 1, "hospital3": 1}


def cyclegan() -> Trainer:
    return Trainer(SMALL, image=ImageConfig(size=16), organs={"brain": ("t1",)}, device=torch.device("cpu"), seed=1)


def training(behave: Behaviour, folder: Path, rounds: int, exchange: Gradients) -> FederatedTraining:
    return scripted_training.training(ScriptedGrid(behave), folder, exchange, rounds=rounds, model="cyclegan")


def exchange(examples: tuple[int, int, int] = (1, 1, 1)) -> Gradients:
    trainer = cyclegan()
    views = {site: View("brain", (("t1",), ("t2",))[SIDES[site]]) for site in SITES}
    sites = {site: Contributor(views[site], n) for site, n in zip(SITES, examples, strict=True)}
    return Gradients(trainer, sites, STEPS)


def honest(site: str, instruction: Instruction, arrays: dict[str, Tensor]) -> RecordDict:
    images = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(instruction.server_round))
    trainer = cyclegan()
    trainer.load_shared_arrays(arrays)
    contribution, losses = trainer.contribute([SideBatch(SIDES[site], images, None, 1)])
    return RecordDict(
        {
            ARRAYS: to_arrays(contribution),
            METRICS: training_metrics(1, {"l1": next(iter(losses.values()))}),
            CONFIG: reply_record(instruction, site),
        }
    )


def test_a_gradient_that_is_no_number_costs_one_step_and_no_more(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []

    def behave(site: str, instruction: Instruction, arrays: dict[str, Tensor]) -> RecordDict:
        content = honest(site, instruction, arrays)
        if site == "hospital3":
            told.append((instruction.server_round, instruction.counted))
            if instruction.server_round == 3:
                sent = {name: torch.full_like(value, float("nan")) for name, value in arrays.items()}
                expected = content.array_records[ARRAYS]
                content[ARRAYS] = to_arrays({name: value for name, value in sent.items() if name in expected})
        return content

    outcome = training(behave, tmp_path, 2, exchange()).train(cyclegan().shared_arrays())
    training(behave, tmp_path, 3, exchange()).train(cyclegan().shared_arrays())  # a coordinator that was restarted
    assert told == [(1, 0), (2, 1), (3, 2), (4, 2), (5, 4), (6, 5)]
    assert [one.site for one in outcome.records[1].refused] == ["hospital3"]
    assert "not finite" in outcome.records[1].refused[0].reason
    assert all_finite(outcome.weights.values())
    assert any(name.startswith("generator_ab_ema") for name in outcome.weights)
    # Of two steps it was missing from one, in which the other site of its domain counted for both.
    assert outcome.records[0].shares[0].sites == {"hospital1": 0.5, "hospital2": 0.25, "hospital3": 0.25}
    assert outcome.records[1].shares[0].sites == {"hospital1": 0.5, "hospital2": 0.375, "hospital3": 0.125}
    assert all_finite(PhaseCheckpoints(tmp_path, "gan/a").state(3).values())


def test_a_step_of_the_coordinator_that_overflows_ends_the_study_before_it_is_kept(tmp_path: Path) -> None:
    rounds = exchange()

    def behave(site: str, instruction: Instruction, arrays: dict[str, Tensor]) -> RecordDict:
        if instruction.server_round == STEPS + 1:
            rounds.trainer.schedule.rates["generator"] = float("inf")  # type: ignore[attr-defined]
        return honest(site, instruction, arrays)

    with pytest.raises(StudyError, match=r"own step .*lower the learning rates of models\.cyclegan"):
        training(behave, tmp_path, 2, rounds).train(cyclegan().shared_arrays())
    checkpoints = PhaseCheckpoints(tmp_path, "gan/a")
    assert len(checkpoints.records()) == 1
    assert all_finite([*checkpoints.weights(1).values(), *checkpoints.state(1).values()])
    # Resumed with rates that hold, it goes on from the round that was kept.
    outcome = training(honest, tmp_path, 2, exchange()).train(cyclegan().shared_arrays())
    assert all_finite(outcome.weights.values())


def test_gradients_of_a_domain_are_weighted_by_what_its_sites_count(tmp_path: Path) -> None:
    outcome = training(honest, tmp_path, 1, exchange((7, 1, 3))).train(cyclegan().shared_arrays())
    assert outcome.shares[0].sites == {"hospital1": 0.5, "hospital2": 0.125, "hospital3": 0.375}
    assert "discriminator_b" in outcome.shares[0].networks
