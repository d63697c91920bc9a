"""Who trains and who tests: decided by each patient alone, once and for good."""

import hashlib
import importlib.util
import json
import logging
import multiprocessing
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC
from opening import about, open_study
from pydantic import ValidationError
from scipy.stats import chisquare
from tiny import TINY, write_patient, write_site

from client.data.context import LOCAL
from client.data.open_studies import OpenStudy
from client.hello.notes import Notes
from client.hello.tasks import possible_tasks
from client.privacy import roster
from client.privacy.admission import remember_training
from client.privacy.known_patients import claim
from client.privacy.questions import settle_test_set
from client.privacy.roster import Role, open_roster, place_of, role_of, roster_of_tests, roster_split
from client.site import Shares, SiteSettings
from client.study.trial import evaluate_model
from common.errors import ConfigError, PrivacyError, RefusalError
from common.imaging.split import Split, split_patients
from common.protocol.records import Instruction
from common.study.config import compose
from common.study.experiment import SplitConfig, StudyConfig
from common.study.trials import Trial
from common.training.build import build_classifier_trainer

PATIENTS = [(f"patient-{number:02d}", number % 3 != 0) for number in range(40)]
NAMES = [name for name, _ in PATIENTS]
SHARES = {"train": 0.5, "validation": 0.2, "test": 0.2}
STUDY = StudyConfig()
PRIVATE = compose([*TINY, "privacy=patient_dp", "privacy.expected_batch_size=2", "privacy.slices_per_patient=2"])
PLAIN = compose([*TINY])


def site(folder: Path, *, roles: Sequence[str] = ("train", "evaluate"), **own: Any) -> SiteSettings:
    return SiteSettings.model_validate(
        {
            "name": "north",
            "reader": "brats",
            "organ": "brain",
            "path": folder / "data",
            "folder": folder / "site",
            "cache_dir": folder / "cache",
            "threads": 1,
            "roles": list(roles),
            "privacy": {"epsilon": 20.0, "patients": 20, "shares": SHARES, **own},
        }
    )


def without_budget(settings: SiteSettings) -> SiteSettings:
    return settings.model_copy(update={"privacy": None})


def split_at(
    settings: SiteSettings,
    patients: Sequence[tuple[str, bool]] = PATIENTS,
    study: StudyConfig = STUDY,
    *,
    for_good: bool = True,
) -> Split:
    return roster_split(settings, patients, study, Trial(), for_good=for_good)


def roles_in(split: Split) -> dict[str, str]:
    parts = {"train": split.train, "validation": split.validation, "test": split.test, "unused": split.unused}
    return {name: part for part, names in parts.items() for name in names}


def moved_by_an_absence(split: Callable[[Sequence[tuple[str, bool]]], Split]) -> set[str]:
    """Who has another role, over all cohorts that lack one of the patients."""
    whole, moved = roles_in(split(PATIENTS)), set()
    for absent in NAMES:
        left = roles_in(split([patient for patient in PATIENTS if patient[0] != absent]))
        assert set(left) == set(whole) - {absent}
        moved |= {name for name, role in left.items() if role != whole[name]}
    return moved


def test_the_absence_of_one_patient_moves_nobody(tmp_path: Path) -> None:
    def anew(patients: Sequence[tuple[str, bool]]) -> Split:
        missing = sorted(set(NAMES) - {name for name, _ in patients})
        return split_at(site(tmp_path / "-".join(["without", *missing])), patients)

    assert {len(part) > 0 for part in (anew(PATIENTS).train, anew(PATIENTS).validation, anew(PATIENTS).test)} == {True}
    assert moved_by_an_absence(anew) == set()


def test_a_split_by_rank_would_be_caught_by_the_same_search() -> None:
    assert moved_by_an_absence(lambda patients: split_patients(patients, SplitConfig(0.6, 0.2, 0.2)))
    assert moved_by_an_absence(lambda patients: split_patients(patients, SplitConfig(20, 5, 8)))


@pytest.mark.parametrize("study", [StudyConfig(most_patients=10), StudyConfig(most_tumour_patients=6)])
def test_a_limit_on_training_patients_is_a_threshold_for_each_by_itself(tmp_path: Path, study: StudyConfig) -> None:
    settings = site(tmp_path)
    everybody, limited = split_at(settings), split_at(settings, study=study)
    assert 0 < len(limited.train) < len(everybody.train)
    for absent in NAMES:
        left = split_at(settings, [patient for patient in PATIENTS if patient[0] != absent], study)
        assert left.train == tuple(name for name in limited.train if name != absent)
        assert left.test == tuple(name for name in limited.test if name != absent)


def test_a_smaller_limit_keeps_some_of_those_whom_a_larger_one_keeps(tmp_path: Path) -> None:
    settings = site(tmp_path)
    kept = [set(split_at(settings, study=StudyConfig(most_patients=most)).train) for most in (4, 8, 16, 20)]
    assert all(fewer <= more for fewer, more in pairwise(kept))
    assert kept[-1] == set(split_at(settings).train)  # as many as the hospital declares


def test_roles_outlast_a_change_of_the_shares_and_new_patients_alone_follow_it(tmp_path: Path) -> None:
    before = split_at(site(tmp_path))
    later = site(tmp_path, shares={"train": 0.0, "test": 1.0})
    assert split_at(later) == before
    newcomers = [(f"new-{number}", True) for number in range(8)]
    after = split_at(later, [*PATIENTS, *newcomers])
    assert roles_in(after) == roles_in(before) | {name: "test" for name, _ in newcomers}
    # A patient who was away meanwhile comes back to the same role.
    assert split_at(later, PATIENTS[:10]).train == tuple(name for name in before.train if name in set(NAMES[:10]))
    assert split_at(later) == before


@pytest.mark.parametrize("key", [bytes(32), b"\xff" * 32, hashlib.sha256(b"a hospital").digest()])
def test_shares_are_met_on_average(key: bytes) -> None:
    shares = Shares(train=0.5, validation=0.15, test=0.25)
    names = [f"case-{number:05d}" for number in range(5000)]
    found = [role_of(key, name, shares) for name in names]
    counts = [found.count(role) for role in (Role.TRAIN, Role.VALIDATION, Role.TEST, Role.UNUSED)]
    assert chisquare(counts, 5000 * np.array([0.5, 0.15, 0.25, 0.1])).pvalue > 1e-3


def test_two_hospitals_with_keys_of_their_own_split_the_same_names_otherwise() -> None:
    shares = Shares(train=0.5, test=0.5)
    names = [f"case-{number}" for number in range(2000)]
    one, other = ([role_of(key, name, shares) for name in names] for key in (bytes(32), b"\x01" * 32))
    agreed = sum(a is b for a, b in zip(one, other, strict=True))
    assert 900 < agreed < 1100  # as two coins would


def test_a_patients_place_is_the_hmac_that_another_library_computes() -> None:
    key = bytes(range(32))
    for name in ("ann", "Jürgen", "bad\udc80name"):
        mac = HMAC(key, hashes.SHA256())
        mac.update(b"role\x1f" + name.encode("utf-8", "surrogatepass"))
        assert place_of(key, "role", name) == int.from_bytes(mac.finalize()[:7], "big") / 2**56
        assert 0 <= place_of(key, "role", name) < 1


def test_a_real_key_comes_from_the_operating_system(monkeypatch: pytest.MonkeyPatch) -> None:
    # The module as it is: tests/conftest.py replaces the function in the one that is imported.
    spec = importlib.util.spec_from_file_location("roster_as_it_is", str(roster.__file__))
    assert spec is not None
    assert spec.loader is not None
    real = importlib.util.module_from_spec(spec)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "roster_as_it_is", real)
        spec.loader.exec_module(real)
    assert len({real.new_key() for _ in range(20)}) == 20
    asked: list[int] = []

    def urandom(size: int) -> bytes:
        asked.append(size)
        return bytes(size)

    monkeypatch.setattr(os, "urandom", urandom)
    assert real.new_key() == bytes(32)
    assert asked == [32]


def test_the_key_lies_on_the_disk_for_its_owner_alone(tmp_path: Path) -> None:
    settings = site(tmp_path)
    split_at(settings)
    file = settings.privacy_folder() / "roster.json"
    assert file.stat().st_mode & 0o077 == 0
    assert file.parent.stat().st_mode & 0o077 == 0
    assert len(bytes.fromhex(json.loads(file.read_text())["key"])) == 32


def everybody_tests(folder: Path, **own: Any) -> SiteSettings:
    return site(folder, shares={"train": 0.0, "test": 1.0}, **own)


def earlier_run(settings: SiteSettings, name: str = "earlier") -> Path:
    run = settings.folder / "runs" / name
    (run / "state" / name).mkdir(parents=True)
    (run / "results").mkdir()
    return run


def trained_by_record(settings: SiteSettings, names: Sequence[str]) -> None:
    (earlier_run(settings) / "state" / "earlier" / "trained.json").write_text(json.dumps(list(names)))


def trained_by_images(settings: SiteSettings, names: Sequence[str]) -> None:
    folder = earlier_run(settings) / "state" / "earlier" / "trials" / "fold-1" / "images"
    folder.mkdir(parents=True)
    np.savez(folder / "synthetic.npz", images=np.zeros(3), learnt_from=np.array(names))


def trained_by_register(settings: SiteSettings, names: Sequence[str]) -> None:
    claim(settings.patient_register(), "another ledger", names)


def trained_by_list(settings: SiteSettings, names: Sequence[str]) -> None:
    own = settings.privacy
    assert own is not None
    assert own.trained is not None
    own.trained.write_text("\n".join(["", *(f"  {name} " for name in names), "somebody who left", ""]))


@pytest.mark.parametrize("record", [trained_by_record, trained_by_images, trained_by_register, trained_by_list])
def test_whoever_trained_before_trains_and_never_tests(
    tmp_path: Path, record: Callable[[SiteSettings, Sequence[str]], None]
) -> None:
    listed = {"trained": tmp_path / "trained.txt"} if record is trained_by_list else {}
    settings = everybody_tests(tmp_path, **listed)
    record(settings, NAMES[3:9])
    split = split_at(settings)
    assert split.train == tuple(NAMES[3:9])
    assert split.test == (*NAMES[:3], *NAMES[9:])
    # Also a patient who comes later.
    assert roles_in(split_at(settings, [*PATIENTS, ("new", True)]))["new"] == "test"


def test_a_run_that_trained_and_does_not_say_whom_keeps_everybody_from_testing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = everybody_tests(tmp_path)
    (earlier_run(settings, "older") / "results" / "training.jsonl").write_text("{}\n")
    with caplog.at_level(logging.WARNING, logger="oncofed.client.north"):
        split = split_at(settings)
    assert split.train == tuple(NAMES)
    assert split.test == ()
    (record,) = (one for one in caplog.records if one.name == "oncofed.client.north")
    assert "every patient who is here now counts as having trained" in record.getMessage()
    assert record.fields == {"runs": ["older"]}  # type: ignore[attr-defined]
    # They train for good: a list that comes afterwards changes nothing for them.
    (tmp_path / "trained.txt").write_text(f"{NAMES[0]}\n")
    later = everybody_tests(tmp_path, trained=tmp_path / "trained.txt")
    assert split_at(later, [*PATIENTS, ("new", True)]).test == ("new",)


def test_the_hospitals_list_says_whom_such_a_run_trained(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "trained.txt").write_text(f"{NAMES[7]}\n{NAMES[2]}\n")
    settings = everybody_tests(tmp_path, trained=tmp_path / "trained.txt")
    (earlier_run(settings, "older") / "results" / "training.jsonl").write_text("{}\n")
    split = split_at(settings)
    assert split.train == (NAMES[2], NAMES[7])
    assert not caplog.records


def test_a_list_of_the_hospital_that_cannot_be_read_stops_everything(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"trained\.txt: the list of patients who trained"):
        split_at(everybody_tests(tmp_path, trained=tmp_path / "trained.txt"))
    assert not (everybody_tests(tmp_path).privacy_folder() / "roster.json").exists()


DAMAGE = {
    "empty": "",
    "no JSON": "{",
    "no table": "[]",
    "no key": '{"roles": {}}',
    "no roles": json.dumps({"key": "00" * 32}),
    "a key that is no number": json.dumps({"key": "zz" * 32, "roles": {}}),
    "a short key": json.dumps({"key": "00" * 31, "roles": {}}),
    "an unknown role": json.dumps({"key": "00" * 32, "roles": {"patient-00": "both"}}),
    "roles that are a list": json.dumps({"key": "00" * 32, "roles": ["patient-00"]}),
    "nested without end": "[" * 100_000,
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_roster_is_refused_and_left_as_it_is(tmp_path: Path, what: str) -> None:
    settings = site(tmp_path)
    split_at(settings)
    file = settings.privacy_folder() / "roster.json"
    file.write_text(DAMAGE[what])
    with pytest.raises(PrivacyError, match=r"roster\.json"):
        split_at(settings)
    with pytest.raises(PrivacyError, match=r"roster\.json"):
        roster_of_tests(settings, ["new"])
    assert file.read_text() == DAMAGE[what]


def test_two_processes_that_make_a_roster_at_once_agree(tmp_path: Path) -> None:
    settings = site(tmp_path)
    lists = [PATIENTS, PATIENTS[::2], PATIENTS[10:], PATIENTS]
    # Their keys are their own: nothing replaces the function in a process that is spawned.
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        jobs = [(settings, patients, STUDY, Trial()) for patients in lists]
        splits = pool.starmap(partial(roster_split, for_good=True), jobs, chunksize=1)
    kept = roles_in(split_at(settings))
    for patients, split in zip(lists, splits, strict=True):
        assert roles_in(split) == {name: kept[name] for name, _ in patients}
    key = json.loads((settings.privacy_folder() / "roster.json").read_text())["key"]
    assert key != roster.new_key().hex()


def test_a_trial_that_leaves_out_a_fold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusalError, match="none of them is left out by turns"):
        roster_split(site(tmp_path), PATIENTS, StudyConfig(folds=3), Trial(fold=1), for_good=True)


def test_patients_of_a_site_that_only_evaluates_test_and_never_train_later(tmp_path: Path) -> None:
    split = split_at(site(tmp_path, roles=["evaluate"]))
    assert (split.train, split.validation, split.test) == ((), (), tuple(NAMES))
    newcomers = [(f"new-{number}", True) for number in range(30)]
    later = split_at(site(tmp_path, shares={"train": 1.0, "test": 0.0}), [*PATIENTS, *newcomers])
    assert later.test == tuple(NAMES)
    assert later.train == tuple(sorted(name for name, _ in newcomers))


def test_patients_who_train_do_not_test_at_a_site_that_only_evaluates_later(tmp_path: Path) -> None:
    before = split_at(site(tmp_path))
    after = split_at(site(tmp_path, roles=["evaluate"]))
    assert after.train == ()
    assert after.test == before.test
    assert set(before.train) <= set(after.unused)


def test_a_site_without_a_budget_keeps_a_roster_of_those_who_test(tmp_path: Path) -> None:
    outside = without_budget(site(tmp_path, roles=["evaluate"]))
    roster_of_tests(outside, NAMES)
    assert split_at(site(tmp_path, shares={"train": 1.0, "test": 0.0})).test == tuple(NAMES)


def test_before_a_first_study_roles_stay_open_and_the_key_stays(tmp_path: Path) -> None:
    half, tested = site(tmp_path), everybody_tests(tmp_path)
    first = split_at(half, for_good=False)
    file = half.privacy_folder() / "roster.json"
    kept = json.loads(file.read_text())
    assert kept["roles"] == {}
    assert split_at(half, for_good=False) == first
    assert split_at(tested, for_good=False).test == tuple(NAMES)
    assert json.loads(file.read_text()) == kept
    assert split_at(half) == first
    assert split_at(tested) == first
    # What is kept for good stays, and who is new stays open.
    again = split_at(tested, [*PATIENTS, ("new", True)], for_good=False)
    assert roles_in(again) == roles_in(first) | {"new": "test"}
    assert "new" not in json.loads(file.read_text())["roles"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_site(tmp_path_factory.mktemp("data") / "site", 10, seed=1)


def session_on(data: Path, settings: SiteSettings, study: Any, run: str = "run") -> OpenStudy:
    there = settings.model_copy(update={"path": data, "cache_dir": data.parent / "cache"})
    return open_study(there, study, run)


def test_a_site_with_a_budget_uses_its_roster_in_every_study(tmp_path: Path, data: Path) -> None:
    settings = site(tmp_path, shares={"train": 0.4, "test": 0.6}, without="allow")
    private, plain = session_on(data, settings, PRIVATE), session_on(data, settings, PLAIN, "another")
    assert private.data.split == plain.data.split == split_at(settings, private.data.cohort.tumour_by_patient)
    other_sizes = compose([*TINY, "split.train=1", "split.test=9"])
    assert session_on(data, settings, other_sizes, "third").data.split == private.data.split


@pytest.mark.parametrize("study", [PRIVATE, PLAIN], ids=["private", "plain"])
def test_a_site_without_a_budget_keeps_the_studys_exact_split(tmp_path: Path, data: Path, study: Any) -> None:
    session = session_on(data, without_budget(site(tmp_path)), study)
    assert session.data.split == split_patients(session.data.cohort.tumour_by_patient, study.split)
    assert not (tmp_path / "site" / "privacy").exists()


def test_what_the_hospital_looks_at_by_itself_binds_nobody(tmp_path: Path, data: Path) -> None:
    settings = site(tmp_path, shares={"train": 0.4, "test": 0.6})
    assert session_on(data, settings, PRIVATE, LOCAL).data.split.train
    file = settings.privacy_folder() / "roster.json"
    assert json.loads(file.read_text())["roles"] == {}
    session = session_on(data, settings, PRIVATE)
    assert session.data.split.train
    assert set(json.loads(file.read_text())["roles"]) == {name for name, _ in session.data.cohort.tumour_by_patient}


def test_no_run_that_a_coordinator_names_leaves_roles_open(tmp_path: Path, data: Path) -> None:
    with pytest.raises(ValidationError):
        Instruction.model_validate({"run": LOCAL, "phase": "hello"})
    settings = site(tmp_path, shares={"train": 0.4, "test": 0.6})
    assert session_on(data, settings, PRIVATE, "local").data.split.train
    assert json.loads((settings.privacy_folder() / "roster.json").read_text())["roles"]


def test_whoever_trained_is_not_scored_at_a_site_that_gave_up_its_budget_to_evaluate(
    tmp_path: Path, data: Path
) -> None:
    trained = session_on(data, site(tmp_path, shares={"train": 0.4, "test": 0.6}), PRIVATE).data.split.train
    session = session_on(data, without_budget(site(tmp_path, roles=["evaluate"])), PRIVATE, "another")
    scored = {patient.patient for patient in settle_test_set(session.data, told=True).patients}
    assert scored == {name for name, _ in session.data.cohort.tumour_by_patient} - set(trained)


def test_whoever_trained_without_a_budget_is_not_scored_at_an_external_centre(tmp_path: Path, data: Path) -> None:
    outside = without_budget(site(tmp_path, roles=["evaluate"]))
    trained_by_record(outside, ["case-1-00", "case-1-05"])
    session = session_on(data, outside, PRIVATE)
    scored = settle_test_set(session.data, told=True).patients
    assert len(scored) == 8
    assert not {"case-1-00", "case-1-05"} & {patient.patient for patient in scored}
    trained_by_record(outside := without_budget(site(tmp_path / "b", roles=["evaluate"])), sorted(os.listdir(data)))
    nobody = session_on(data, outside, PRIVATE)
    assert settle_test_set(nobody.data, told=True).patients == []


def test_whoever_trained_while_there_was_no_budget_does_not_test_when_it_is_back(tmp_path: Path, data: Path) -> None:
    settings = site(tmp_path, shares={"train": 0.4, "test": 0.6}, without="allow")
    tests = session_on(data, settings, PLAIN).data.split.test
    meanwhile = session_on(data, without_budget(settings), PLAIN, "another")
    remember_training(about(meanwhile, Instruction(run="another", phase="gan/cgan")))
    assert set(tests) & set(meanwhile.data.split.train)
    session = session_on(data, settings, PRIVATE, "third")
    scored = settle_test_set(session.data, told=True).patients
    assert not {patient.patient for patient in scored} & set(meanwhile.data.split.train)


def site_without(part: Role, folder: Path) -> tuple[Path, SiteSettings]:
    """Ten patients, of whom those of one part have no tumour."""
    shares = {"train": 0.4, "test": 0.6}
    for index in range(10):
        name = f"case-1-{index:02d}"
        role = role_of(roster.new_key(), name, Shares(**shares))
        write_patient(folder / "images", name, tumour=role is not part, seed=index)
    return folder / "images", site(folder, shares=shares, without="allow", patients=4)


def test_training_patients_of_one_class_are_no_reason_to_stay_away_from_a_private_study(tmp_path: Path) -> None:
    data, settings = site_without(Role.TRAIN, tmp_path)
    private = session_on(data, settings, PRIVATE)
    assert not any(tumour for name, tumour in private.data.cohort.tumour_by_patient if name in private.data.split.train)
    notes = Notes()
    assert possible_tasks(private.data, notes) == ["gan/cgan", "classifier", "evaluate"]
    assert notes == []
    # In a study that is not private it says so.
    assert possible_tasks(session_on(data, settings, PLAIN, "another").data, notes) == ["evaluate"]
    assert notes == ["trains nothing: its training patients do not hold both classes"]


def test_test_patients_of_one_class_are_scored_without_an_auc(tmp_path: Path) -> None:
    data, settings = site_without(Role.TEST, tmp_path)
    session = session_on(data, settings, PRIVATE)
    weights = build_classifier_trainer(
        PRIVATE, device=torch.device("cpu"), weights=PRIVATE.weights, total_steps=1
    ).shared_arrays()
    asked = Instruction.model_validate({"run": "run", "phase": "federated/real", "arm": "real"})
    told = evaluate_model(about(session, asked), weights).arms["model"]
    assert told.value("auc") is None
    assert told.value("recall") is None
    assert told.value("accuracy") is not None


def test_a_roster_is_written_only_where_somebody_is_new(tmp_path: Path) -> None:
    asked: list[list[str]] = []

    def trained(names: Sequence[str], new: bool) -> list[str]:
        if new:
            asked.append(list(names))
        return []

    for names in (NAMES[:5], NAMES[:5], NAMES[:6]):
        open_roster(tmp_path / "privacy", Shares(), names, trained)
    assert asked == [NAMES[:5], [NAMES[5]]]
