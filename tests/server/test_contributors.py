"""Federated classifiers are compared over the same sites, or not at all, and who trained what is told."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from classifier_scores import between, told_scores
from flwr.app import RecordDict
from scripted_grid import SITES, Outcome, ScriptedGrid
from tiny import TINY
from torch import Tensor

from common.protocol.records import (
    ARRAYS,
    CONFIG,
    METRICS,
    Instruction,
    SiteHello,
    reply_record,
    to_arrays,
    training_metrics,
)
from common.results.classifier import FEDERATED, SiteArms, ToldScores
from common.results.study import Results, RunInfo, SiteEntry
from common.study.config import compose
from common.study.progress import NoProgress
from common.study.trials import trials_of
from server.app import _conclude
from server.arms import federated_arms
from server.cross_site import cross_site
from server.report.answer import answer
from server.report.contributors import apart_lines, contributors_table
from server.report.further import further
from server.roster import Member, Roster
from server.settings import StudySettings
from server.trials import TrialRunner

ROUNDS = 2
STUDY = compose(
    [
        *TINY,
        "study.folds=3",
        "study.ratios=[2]",
        "study.arms=[real,real_synthetic,blob]",
        f"classifier.federation.rounds={ROUNDS}",
    ]
)
ACCURACY = {"real": 0.70, "real_synthetic": 0.90, "blob": 0.80}
Fault = Callable[[str, Instruction], bool]
LOST = "it ran out of memory"


def scores(arm: str, site: str, instruction: Instruction) -> ToldScores:
    # A little apart in each fold, so that a test has a spread to go by.
    apart = 0.003 * (instruction.fold * (2 + list(ACCURACY).index(arm)) % 5)
    mean = ACCURACY[arm] + 0.01 * SITES.index(site) + apart
    one = between(mean, mean - 0.02, mean + 0.02)
    over = mean - ACCURACY["real"]
    gain = None if arm == "real" else between(over, over - 0.01, over + 0.01)
    gains = {} if gain is None else {"accuracy_gain": gain, "auc_gain": gain}
    return told_scores(accuracy=one, precision=one, recall=one, f1=one, auc=one, steps=4, **gains)


def site(name: str, instruction: Instruction, arrays: dict[str, Tensor]) -> RecordDict:
    """An honest one."""
    if instruction.server_round:
        return RecordDict(
            {
                ARRAYS: to_arrays(arrays),
                METRICS: training_metrics(1, {"loss": 1.0}),
                CONFIG: reply_record(instruction, name),
            }
        )
    told = {"model": scores(instruction.arm, name, instruction)}
    left_out = told if instruction.fold else {}
    result = SiteArms(arms=told, left_out=left_out, test_to_train=0.5 if instruction.fold else None)
    return RecordDict({CONFIG: reply_record(instruction, name, result)})


def study(folder: Path, fault: Fault) -> Results:
    """The federated part of a study in which a site fails where ``fault`` says so."""
    torch.set_num_threads(1)

    def behave(name: str, instruction: Instruction, arrays: dict[str, Tensor]) -> Outcome:
        return LOST if fault(name, instruction) else site(name, instruction, arrays)

    settings = StudySettings(STUDY, "demo", folder, len(SITES), {}, folder, NoProgress(), "in_process")
    members = [
        Member(
            name,
            number,
            SiteHello(
                site=name,
                organ="brain",
                modality="MRI",
                contrasts=["flair"],
                roles=["train", "evaluate"],
                tasks=["gan/cgan", "classifier", "evaluate"],
            ),
        )
        for number, name in enumerate(SITES)
    ]
    grid, roster = ScriptedGrid(behave), Roster(tuple(members), {})
    runner = TrialRunner(grid, settings, roster, [], {})
    results = Results(run=RunInfo(name="demo", seed=1, engine="in_process", started="2030-01-31T12:00:00+00:00"))
    results.sites = {name: SiteEntry(organ="brain", modality="MRI", roles=["train", "evaluate"]) for name in SITES}
    for trial in trials_of(STUDY):
        federated = federated_arms(grid, settings, roster, "cgan", trial)
        results.trials.append(runner.result(trial, {}, federated))
        if not trial.name:
            results.arms[FEDERATED] = federated.scores
            crossed = cross_site(grid, settings, roster, federated)
            results.cross_site_gain = crossed.gains
    _conclude(STUDY, results)
    return results


def gains(results: Results) -> set[str]:
    return {one.arm for one in results.gains if one.scope == FEDERATED and one.accuracy.value is not None}


def run_folds(results: Results) -> dict[tuple[str, str], int]:
    """Over how many run-folds each arm was tested against another."""
    (accuracy,) = [table for table in results.comparisons[FEDERATED] if table.score == "accuracy"]
    return {(one.arm, one.against): one.corrected.n for one in accuracy.comparisons}


def nowhere(name: str, instruction: Instruction) -> bool:
    return False


def test_without_a_fault_everything_is_compared(tmp_path: Path) -> None:
    results = study(tmp_path, nowhere)
    assert gains(results) == {"real_synthetic", "blob"}
    assert set(run_folds(results).values()) == {3}
    assert "Yes" in answer(results)[0].sentence
    (row,) = results.cross_site_gain["real_synthetic"].figures["accuracy_over_real_only"]
    assert None not in row


@pytest.mark.parametrize("rounds", [(1, 2), (2,), (1,)])
def test_an_arm_that_a_site_did_not_train_like_the_other_is_not_compared_with_it(
    tmp_path: Path, rounds: tuple[int, ...]
) -> None:
    """Lost for good, or in one round only: real was trained by three, real + synthetic by two and a half."""

    def fault(name: str, instruction: Instruction) -> bool:
        lost = instruction.arm == "real_synthetic" and instruction.server_round in rounds
        return name == "hospital3" and lost

    results = study(tmp_path, fault)
    assert gains(results) == {"blob"}
    assert run_folds(results) == {("real_synthetic", "real"): 0, ("blob", "real"): 3, ("real_synthetic", "blob"): 0}
    (row,) = results.cross_site_gain["real_synthetic"].figures["accuracy_over_real_only"]
    assert row == [None] * 3
    helps, generator, _ = (part.sentence for part in answer(results))
    assert "Not compared" in helps
    assert "hospital3" in helps
    assert "Yes" not in generator
    assert "cannot be compared" in further(results)[0]


def test_a_fold_in_which_a_site_was_lost_does_not_count_and_the_others_do(tmp_path: Path) -> None:
    def fault(name: str, instruction: Instruction) -> bool:
        return (name, instruction.fold, instruction.arm) == ("hospital2", 2, "blob") and instruction.server_round == 1

    results = study(tmp_path, fault)
    assert run_folds(results) == {("real_synthetic", "real"): 3, ("blob", "real"): 2, ("real_synthetic", "blob"): 2}
    counted = {one.arm: one.trials for one in results.gains if one.scope == FEDERATED}
    assert counted == {"real_synthetic": 3, "blob": 2}


def test_a_site_that_tested_one_arm_and_not_the_other_is_no_reason_to_compare_them(tmp_path: Path) -> None:
    def fault(name: str, instruction: Instruction) -> bool:
        asked = (name, instruction.fold, instruction.arm, instruction.server_round)
        return asked == ("hospital3", 1, "real", 0)

    results = study(tmp_path, fault)
    assert run_folds(results)["real_synthetic", "real"] == 2
    assert run_folds(results)["real_synthetic", "blob"] == 3


def test_a_trial_without_real_slices_of_its_own_is_held_to_those_that_it_is_compared_with(tmp_path: Path) -> None:
    def fault(name: str, instruction: Instruction) -> bool:
        return (name, instruction.fold, instruction.ratio, instruction.arm) == ("hospital1", 0, 0.0, "real")

    results = study(tmp_path, fault)
    (twice,) = [trial for trial in results.trials if trial.ratio]
    assert all(one.get(("accuracy", "", "real_only")) is None for one in twice.arms[FEDERATED].values())
    assert run_folds(results)["real_synthetic", "real"] == 3


def test_the_report_says_who_trained_what_and_what_is_not_compared(tmp_path: Path) -> None:
    def fault(name: str, instruction: Instruction) -> bool:
        return (name, instruction.arm, instruction.server_round) == ("hospital3", "real_synthetic", 2)

    results = study(tmp_path, fault)
    # As it is read from results.json.
    results = Results.model_validate_json(results.model_dump_json(by_alias=True))
    table = contributors_table(results)
    assert table is not None
    rows = [[cell.text for cell in row] for row in table.rows]
    everybody = "hospital1, hospital2 and hospital3"
    assert ["classifier, real only", everybody, "hospital1 33.3%, hospital2 33.3%, hospital3 33.3%", "4"] in rows
    part = "hospital1, hospital2 and hospital3 (in 1 of 2 rounds)"
    shares = "hospital1 41.7%, hospital2 41.7%, hospital3 16.7%"
    assert ["classifier, real + synthetic", part, shares, "5"] in rows
    lines = apart_lines(results)
    assert any("real + synthetic with real only" in line and part in line and "fold-1" in line for line in lines)
    assert len(apart_lines(results, first=True)) == 2
