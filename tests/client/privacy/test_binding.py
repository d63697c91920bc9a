"""A run's name stands for one configuration, from its first message on."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hospital import Hospital
from opening import bind, open_study
from tiny import TINY, write_site

from client.app import _safe_reason
from client.data.open_studies import OpenStudy
from client.privacy.binding import binding_file, digest_of
from client.site import SiteSettings
from common.errors import PrivacyError, RefusalError
from common.protocol.actions import Action
from common.study.config import compose, from_yaml, to_yaml
from common.study.experiment import Experiment

DP = ("privacy=patient_dp", "privacy.expected_batch_size=2", "privacy.slices_per_patient=2")
STUDY = compose([*TINY, *DP])
TEXT = to_yaml(STUDY, leaving=True)
OWN = {"epsilon": 20.0, "patients": 4, "shares": {"train": 0.4, "test": 0.6}}
REFUSED = "this run began with another configuration; give the changed study a name of its own"


def session_at(folder: Path, study: Experiment = STUDY, run: str = "run", name: str = "north") -> OpenStudy:
    there = {"name": name, "reader": "brats", "organ": "brain", "path": folder, "cache_dir": folder / "cache"}
    return open_study(SiteSettings.model_validate({**there, "folder": folder / name, "privacy": OWN}), study, run)


def in_another_order(values: Any) -> Any:
    if isinstance(values, dict):
        return {key: in_another_order(value) for key, value in reversed(values.items())}
    return values


def without_defaults(values: dict[str, Any]) -> dict[str, Any]:
    """The same study by a text that leaves out what is a default anyway."""
    assert values["seed"] == Experiment().seed
    return {key: value for key, value in values.items() if key not in ("seed", "weights")}


SPELLINGS = {
    "as it was": TEXT,
    "keys in another order": yaml.safe_dump(in_another_order(yaml.safe_load(TEXT)), sort_keys=False),
    "sorted keys": yaml.safe_dump(yaml.safe_load(TEXT)),
    "in one line": yaml.safe_dump(yaml.safe_load(TEXT), default_flow_style=True, width=10**6),
    "with comments": "# another hand\n" + TEXT.replace("\n", "  # so\n", 1),
    "without defaults": yaml.safe_dump(without_defaults(yaml.safe_load(TEXT))),
    "whole numbers for real ones": TEXT.replace("epsilon: 8.0", "epsilon: 8"),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_the_same_configuration_in_another_spelling_is_the_same(tmp_path: Path, spelling: str) -> None:
    bind(session_at(tmp_path, from_yaml(TEXT)))
    assert spelling == "as it was" or SPELLINGS[spelling] != TEXT
    bind(session_at(tmp_path, from_yaml(SPELLINGS[spelling])))
    assert digest_of(from_yaml(SPELLINGS[spelling])) == digest_of(from_yaml(TEXT))


CHANGES = (
    "privacy=none",
    "privacy.epsilon=9",
    "privacy.scores=noised",
    "privacy.reserve=0.5",
    "privacy.slices_per_patient=3",
    "seed=2",
    "name=another",
    "split.train=5",
    "split.test=5",
    "image.size=64",
    "organs.brain.min_tumour_pixels=5",
    "models.cgan.width=8",
    "models.cgan.finetune_steps=0",
    "federation.rounds=3",
    "classifier.width=8",
    "study.min_cell=6",
    "study.arms=[real]",
    "strategy.quorum=1",
    "evaluation.gallery=5",
    "pretraining.gan_steps=1",
)


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_configuration_is_refused_under_the_same_name(tmp_path: Path, change: str) -> None:
    privacy = ("privacy=none",) if change == "privacy=none" else (*DP, change)
    other = compose([*TINY, *privacy])
    for first, second in ((STUDY, other), (other, STUDY)):
        run = f"run-{first.privacy.mode}-{digest_of(first)[:8]}"
        bind(session_at(tmp_path, first, run))
        with pytest.raises(RefusalError) as refusal:
            bind(session_at(tmp_path, second, run))
        assert str(refusal.value) == REFUSED
        bind(session_at(tmp_path, first, run))


def test_another_name_binds_anew(tmp_path: Path) -> None:
    other = compose([*TINY])
    bind(session_at(tmp_path))
    bind(session_at(tmp_path, other, "another"))
    with pytest.raises(RefusalError):
        bind(session_at(tmp_path, STUDY, "another"))


def test_sites_are_bound_each_by_itself(tmp_path: Path) -> None:
    other = compose([*TINY])
    bind(session_at(tmp_path, STUDY, name="north"))
    bind(session_at(tmp_path, other, name="south"))
    bind(session_at(tmp_path, STUDY, name="north"))
    assert binding_file(session_at(tmp_path).work) != binding_file(session_at(tmp_path, name="south").work)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '"text"', "null", "\x00", "[" * 100_000])
def test_a_damaged_binding_stops_the_run_and_stays_as_it_is(tmp_path: Path, text: str) -> None:
    session = session_at(tmp_path)
    bind(session)
    binding_file(session.work).write_text(text)
    with pytest.raises(PrivacyError, match=r"binding\.json: does not say which configuration") as fault:
        bind(session)
    assert binding_file(session.work).read_text() == text
    assert str(tmp_path) not in _safe_reason(fault.value)


def test_a_binding_to_something_else_is_refused(tmp_path: Path) -> None:
    session = session_at(tmp_path)
    bind(session)
    binding_file(session.work).write_text(json.dumps({"configuration": None}))
    with pytest.raises(RefusalError):
        bind(session)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("binding")
    (folder / "cache").mkdir()
    return write_site(folder / "data", 10, seed=1)


def hospital_at(folder: Path, data: Path) -> Hospital:
    for name in ("data", "cache"):
        if not (folder / name).exists():
            (folder / name).symlink_to(data.parent / name)
    return Hospital(folder, privacy={**OWN, "without": "allow"})


def test_a_binding_outlasts_a_restart_and_holds_for_every_action(tmp_path: Path, data: Path) -> None:
    assert not hospital_at(tmp_path, data).ask(Action.HELLO, experiment=TEXT).has_error()
    changed = to_yaml(compose([*TINY]), leaving=True)
    again = hospital_at(tmp_path, data)
    for action in Action:
        reply = again.ask(action, experiment=changed, phase="gan/cgan", model="cgan")
        assert reply.error.reason == f"hospital1: {REFUSED}"
    assert not again.ask(Action.HELLO, experiment=TEXT).has_error()
    assert not again.ask(Action.HELLO, experiment=changed, run="another").has_error()


def test_a_message_of_any_action_binds_also_one_that_is_refused(tmp_path: Path, data: Path) -> None:
    changed = to_yaml(compose([*TINY]), leaving=True)
    site = hospital_at(tmp_path, data)
    for number, action in enumerate(action for action in Action if action is not Action.ARMS):
        run = f"run-{number}"
        site.ask(action, experiment=TEXT, run=run, phase="gan/cgan", model="cgan")
        assert site.ask(Action.HELLO, experiment=changed, run=run).error.reason == f"hospital1: {REFUSED}"


def test_a_damaged_binding_tells_the_coordinator_nothing(tmp_path: Path, data: Path) -> None:
    site = hospital_at(tmp_path, data)
    assert not site.ask(Action.HELLO, experiment=TEXT).has_error()
    (site.settings.run_folder("demo") / "state" / "demo" / "binding.json").write_text("{")
    reply = site.ask(Action.HELLO, experiment=TEXT)
    assert reply.error.reason == (
        "hospital1: no privacy guarantee can be given for this training; its own log says why"
    )
