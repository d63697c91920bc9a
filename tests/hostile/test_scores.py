"""A hostile site's scores: what no test could give is refused, the sender is named, and the others' scores stand."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from classifier_scores import told_scores
from flwr.app import RecordDict
from scripted_grid import SITES, ScriptedGrid
from torch import Tensor

from common.metrics.bootstrap import Estimate
from common.protocol.records import CONFIG, Instruction, SiteHello, UnacceptableError, reply_record
from common.results.classifier import SiteArms
from common.study.config import compose
from common.study.progress import NoProgress
from common.study.trials import Trial
from server.arms import local_arms
from server.cross_site import _fitting
from server.roster import Member, Roster
from server.settings import StudySettings
from server.site_scores import model_scores

HOSTILE = "hospital3"
SOUND = Estimate(value=0.8, low=0.7, high=0.9)
SCORES = told_scores(accuracy=SOUND, precision=SOUND, recall=SOUND, f1=SOUND, auc=SOUND, patients=12, slices=90)


class Messages(NoProgress):
    """What a person was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def message(self, text: str) -> None:
        self.told.append(text)


EXPERIMENT = compose(["preset=demo", "study.arms=[real,blob]"])


def settings(folder: Path) -> StudySettings:
    return StudySettings(
        experiment=EXPERIMENT,
        name="demo",
        run_dir=folder,
        sites=len(SITES),
        reference={},
        cache_dir=folder,
        progress=Messages(),
        engine="in_process",
    )


def members() -> list[Member]:
    hello = {"organ": "brain", "modality": "MR", "contrasts": ["flair"], "roles": ["train", "evaluate"]}
    tasks = ["classifier", "evaluate"]
    return [Member(site, node, SiteHello(site=site, tasks=tasks, **hello)) for node, site in enumerate(SITES)]


def told(scores: Any, arm: str) -> dict[str, Any]:
    return {"arms": {arm: scores}}


def with_figure(**changes: Any) -> Callable[[str], Any]:
    """The scores with one figure more, or with what it replaces."""
    dumped = SCORES.model_dump()
    changed = {**dumped["figures"][-1], **changes}
    kept = [
        one for one in dumped["figures"] if (one["metric"], one["against"]) != (changed["metric"], changed["against"])
    ]
    return lambda arm: told({**dumped, "figures": [*kept, changed]}, arm)


def auc(value: Any) -> Callable[[str], Any]:
    return with_figure(metric="auc", value=value, low=None, high=None)


def with_part(**parts: Any) -> Callable[[str], Any]:
    return lambda arm: told({**SCORES.model_dump(), **parts}, arm)


BIN = {"predicted": 0.5, "positive": 0.5, "slices": 9, "patients": 9}
SPOILT: dict[str, Callable[[str], Any]] = {
    "better than perfect": auc(7.0),
    "worse than nothing": auc(-0.5),
    "no number": auc(float("nan")),
    "an infinite number": auc(float("inf")),
    "in words": auc("good"),
    "in a list": auc([0.9]),
    "fewer patients than none": with_part(patients=-3),
    "patients in words": with_part(patients="many"),
    "fewer hits than none": with_part(
        confusion={"true_positive": -1, "false_positive": 0, "true_negative": 0, "false_negative": 0}
    ),
    "a curve that runs on": with_part(reliability=[BIN] * 101),
    "a curve that leaves the page": with_part(reliability=[{**BIN, "positive": float("nan")}]),
    "a calibration error that is no number": with_figure(metric="calibration_error", value=float("nan")),
    "a sensitivity above one": with_figure(metric="sensitivity", value=1.5),
    "a Brier score with an interval below nothing": with_figure(metric="brier", value=0.1, low=-2.0),
    "a gain of more than everything": with_figure(metric="accuracy", against="real_only", value=1.5),
    "a gain with an interval of more than everything": with_figure(metric="auc", against="real_only", high=1.5),
    "an attention above one": with_figure(metric="attention", value=1.2),
    "a metric that nobody knows": with_figure(metric="mean_intensity", value=0.5),
    "a metric that no site tells": with_figure(metric="two_sample", part="tumour", value=0.5),
    "a metric of images": with_figure(metric="ssim", value=0.5),
    "a part that is a name": with_figure(part="case-0017"),
    "a reference that is a name": with_figure(references={"case-0017": 0.5}),
    "a reference that no site tells": with_figure(references={"real": 0.5}),
    "a condition that is a text": with_figure(conditions={"specificity": "/data/patients"}),
    "a condition that nobody knows": with_figure(conditions={"age": 71}),
    "a figure twice": lambda arm: told({**SCORES.model_dump(), "figures": SCORES.model_dump()["figures"] * 2}, arm),
    "figures without end": lambda arm: told(
        {**SCORES.model_dump(), "figures": SCORES.model_dump()["figures"] * 2_000}, arm
    ),
    "a figure with a part that nobody knows": with_figure(path="/data/patients"),
    "a fold's figures above one": lambda arm: {
        **told(SCORES.model_dump(), arm),
        "left_out": auc(2.0)(arm)["arms"],
    },
    "a fold larger than anything": lambda arm: {**told(SCORES.model_dump(), arm), "test_to_train": 1e9},
    "a part that nobody knows": with_part(path="/data/patients"),
    "figures that are missing": lambda arm: told({"patients": 12}, arm),
    "an arm with a path": lambda arm: told(SCORES.model_dump(), "../../escaped"),
    "an arm with a name for a terminal": lambda arm: told(SCORES.model_dump(), "\x1b[2J"),
    "no arms": lambda arm: {},
    "a list": lambda arm: [1, 2],
    "nesting": lambda arm: "[" * 100_000,
    "more than two megabytes": lambda arm: {"arms": {}, "more": "x" * 2_100_000},
}


def site(spoil: Callable[[str], Any], arm: str) -> Callable[[str, Instruction, dict[str, Tensor]], RecordDict]:
    def behave(name: str, instruction: Instruction, arrays: dict[str, Tensor]) -> RecordDict:
        record = reply_record(instruction, name)
        made = spoil(arm) if name == HOSTILE else told(SCORES.model_dump(), arm)
        record["result"] = made if isinstance(made, str) else json.dumps(made)
        return RecordDict({CONFIG: record})

    return behave


@pytest.mark.parametrize("how", SPOILT)
def test_hostile_scores_are_refused_and_the_others_stand(tmp_path: Path, how: str) -> None:
    study = settings(tmp_path)
    found = model_scores(
        ScriptedGrid(site(SPOILT[how], "model")), study, members(), "federated/real", {"w": torch.zeros(1)}
    )
    assert {name: scores.arms["model"] for name, scores in found.items()} == {"hospital1": SCORES, "hospital2": SCORES}
    assert isinstance(study.progress, Messages)
    (text,) = study.progress.told
    assert text.startswith(f"federated/real: {HOSTILE} is missing: refused: the result ")
    assert text.isprintable()
    assert len(text) < 300
    arms = local_arms(
        ScriptedGrid(site(SPOILT[how], "real")), settings(tmp_path / "arms"), Roster(tuple(members()), {}), Trial()
    )
    assert {name: scores.arms for name, scores in arms.items()} == {name: {"real": SCORES} for name in SITES[:2]}


@pytest.mark.parametrize("arms", [[], ["other"], ["model", "other"]])
def test_scores_of_another_model_than_was_sent_are_refused(tmp_path: Path, arms: list[str]) -> None:
    def other(_: str) -> Any:
        return {"arms": {arm: SCORES.model_dump() for arm in arms}}

    found = model_scores(ScriptedGrid(site(other, "model")), settings(tmp_path), members(), "x", {"w": torch.zeros(1)})
    assert sorted(found) == ["hospital1", "hospital2"]


def test_an_arm_that_the_study_did_not_ask_for_is_not_looked_at(tmp_path: Path) -> None:
    def more(arm: str) -> Any:
        return SiteArms(arms={arm: SCORES, "mine": SCORES}).model_dump()

    found = local_arms(ScriptedGrid(site(more, "real")), settings(tmp_path), Roster(tuple(members()), {}), Trial())
    assert {name: scores.arms for name, scores in found.items()} == {name: {"real": SCORES} for name in SITES}


def test_a_sites_model_of_other_types_goes_to_nobody() -> None:
    reference = {"w": torch.zeros(2)}
    assert _fitting({"w": torch.ones(2)}, reference).keys() == {"w"}
    for weights in (
        {"w": torch.ones(2, dtype=torch.float64)},
        {"w": torch.ones(2).int()},
        {"w": torch.ones(3)},
        {"v": torch.ones(2)},
        {"w": torch.tensor([1.0, float("nan")])},
    ):
        with pytest.raises(UnacceptableError):
            _fitting(weights, reference)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("notes", ["x" * 5_000]),
        ("notes", ["\x1b[2Jcleared"]),
        ("notes", ["note"] * 41),
        ("tasks", ["gan/\n"]),
        ("tasks", ["x" * 61]),
        ("contrasts", ["\u202egpj"]),
        ("organ", "br\tain"),
        ("site", "../escaped"),
        ("examples", 0),
        ("examples", 10**9),
        ("patients", -1),
        ("path", "/data"),
    ],
)
def test_an_introduction_that_would_spoil_a_terminal_or_an_average_is_refused(key: str, value: Any) -> None:
    sound = members()[0].hello.model_dump()
    SiteHello.model_validate_json(json.dumps(sound))
    with pytest.raises(ValueError, match=key):
        SiteHello.model_validate_json(json.dumps({**sound, key: value}))
