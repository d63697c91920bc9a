"""A run keeps the patients and the split that it began with, whatever becomes of the hospital's folder meanwhile."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from opening import open_message, open_study, parts
from tiny import write_patient

from client.data.begun import CAME_LATER, ChangedPatientsError
from client.data.context import LOCAL
from client.data.open_studies import OpenStudy
from client.hello.introduction import introduce
from common.errors import DamagedFileError, RefusalError
from common.imaging.split import Split
from common.protocol.actions import Action
from common.study.trials import Trial
from common.system.files import read_json, write_json
from tests.support.hospital import STUDY, Hospital

PRIVATE = {"epsilon": 8.0, "patients": 10, "without": "allow"}


def begun(hospital: Hospital, **settings: Any) -> OpenStudy:
    """The session of a node that was started again."""
    return open_message(hospital.settings.model_copy(update=settings), STUDY, "demo")


def split_of(session: OpenStudy) -> Split:
    return session.data.split


def newcomers(hospital: Hospital, count: int = 4) -> list[str]:
    names = [f"aa-new-{number}" for number in range(count)]
    for number, name in enumerate(names):
        write_patient(hospital.settings.path, name, tumour=True, seed=7000 + number)
    return names


def test_whoever_comes_later_takes_no_part_and_moves_nobody(tmp_path: Path) -> None:
    hospital = Hospital(tmp_path)
    before = begun(hospital).data.split
    names = newcomers(hospital)
    session = begun(hospital)
    assert session.data.split == before
    assert list(session.data.cohorts.later) == names
    assert not {patient.patient for patient in session.data.cohort.patients} & set(names)
    assert CAME_LATER in introduce(session.data, session.work).notes
    # Without the memory of the run they would: a run of its own has another split.
    assert set(open_message(hospital.settings, STUDY, "another").data.split.test) & set(names)


def test_the_coordinator_is_told_neither_who_came_nor_how_many(tmp_path: Path) -> None:
    hospital = Hospital(tmp_path)
    split_of(begun(hospital, declare_counts=True))
    newcomers(hospital)
    hello = introduce(*parts(begun(hospital, declare_counts=True)))
    assert "aa-new" not in hello.model_dump_json()
    assert hello.patients == 10


def gone(hospital: Hospital, name: str) -> None:
    shutil.rmtree(hospital.settings.path / name)


def another_tumour(hospital: Hospital, name: str) -> None:
    gone(hospital, name)
    write_patient(hospital.settings.path, name, tumour=True, seed=9999)


def without_its_tumour(hospital: Hospital, name: str) -> None:
    gone(hospital, name)
    write_patient(hospital.settings.path, name, tumour=False, seed=1000)


def exchanged(hospital: Hospital, name: str) -> None:
    """Each is called what the other was: who trained would test under the other's name."""
    root = hospital.settings.path
    for one, other in ((name, "between"), ("case-1-04", name), ("between", "case-1-04")):
        (root / one).rename(root / other)
        for file in (root / other).iterdir():
            file.rename(file.with_name(file.name.replace(one, other)))


@pytest.mark.parametrize("change", [gone, another_tumour, without_its_tumour, exchanged])
def test_a_patient_who_is_not_what_it_was_ends_the_run_here_and_is_named_in_the_sites_log_alone(
    change: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hospital = Hospital(tmp_path)
    split_of(begun(hospital))
    change(hospital, "case-1-00")
    with pytest.raises(ChangedPatientsError, match="begin a new run") as error:
        split_of(begun(hospital))
    assert "case-1" not in str(error.value)
    assert "case-1-00" in error.value.names
    (record,) = [one for one in caplog.records if "not what they were" in one.message]
    fields = record.fields  # type: ignore[attr-defined]
    assert "case-1-00" in [*fields["missing"], *fields["changed"]]


def test_files_that_were_copied_are_the_same_patients(tmp_path: Path) -> None:
    hospital = Hospital(tmp_path)
    before = begun(hospital).data.split
    moved = tmp_path / "restored"
    shutil.copytree(hospital.settings.path, moved)
    for file in moved.rglob("*.nii.gz"):
        os.utime(file, (1, 1))
    shutil.rmtree(tmp_path / "cache")
    assert begun(hospital, path=moved).data.split == before


@pytest.mark.parametrize("roles", [["evaluate"], ["train"]])
def test_a_role_that_was_taken_away_makes_no_test_patient_of_one_who_trained(roles: list[str], tmp_path: Path) -> None:
    hospital = Hospital(tmp_path)
    before = begun(hospital).data.split
    session = begun(hospital, roles=roles)
    if roles == ["evaluate"]:
        with pytest.raises(RefusalError, match="roles"):
            split_of(session)
    else:
        assert session.data.split == before


def test_a_trial_of_another_split_is_looked_at_too(tmp_path: Path) -> None:
    hospital = Hospital(tmp_path)
    split_of(begun(hospital))
    with pytest.raises(RefusalError, match="roles"):
        split_of(begun(hospital, roles=["evaluate"]).within(Trial(run=2)))


def test_a_budget_that_was_set_in_the_middle_ends_the_run_here(tmp_path: Path) -> None:
    hospital = Hospital(tmp_path / "open")
    split_of(begun(hospital))
    own = Hospital(tmp_path / "private", privacy=PRIVATE).settings.privacy
    with pytest.raises(RefusalError, match="privacy budget"):
        split_of(begun(hospital, privacy=own))


@pytest.mark.parametrize("change", [gone, another_tumour, newcomers])
def test_a_guarded_site_says_the_same_whoever_came_or_went(change: Any, tmp_path: Path) -> None:
    hospital = Hospital(tmp_path, privacy=PRIVATE)
    before, split = introduce(*parts(begun(hospital))), begun(hospital).data.split
    change(hospital, "case-1-00") if change is not newcomers else newcomers(hospital)
    session = begun(hospital)
    after = introduce(session.data, session.work)
    assert after == before
    still = {patient.patient for patient in session.data.cohort.patients}
    assert still <= {*split.train, *split.validation, *split.test, *split.unused}
    assert [name for name in split.test if name in still] == list(session.data.split.test)


def test_a_restarted_node_answers_the_next_message_of_the_run_with_a_reason(tmp_path: Path) -> None:
    """As a coordinator meets it: the node comes back in the middle, and is asked for something else than hello."""
    hospital = Hospital(tmp_path)
    assert hospital.ask(Action.HELLO).has_content()
    gone(hospital, "case-1-00")
    again = Hospital(tmp_path)
    reply = again.ask(Action.ARMS, phase="arms")
    assert reply.has_error()
    assert "patients that this run began with are not there any more" in str(reply.error.reason)


@pytest.mark.parametrize("name", ["patients.json", "split.json"])
def test_a_memory_that_was_tampered_with_is_no_fresh_start(name: str, tmp_path: Path) -> None:
    hospital = Hospital(tmp_path)
    split_of(begun(hospital))
    file = hospital.settings.run_folder("demo") / "state" / "demo" / name
    write_json(file, {key: [1] for key in read_json(file)} if name == "patients.json" else {"parts": {}})
    with pytest.raises(DamagedFileError, match="does not say"):
        split_of(begun(hospital))


def test_what_nobody_asked_for_remembers_nothing(tmp_path: Path) -> None:
    hospital = Hospital(tmp_path)
    split_of(open_study(hospital.settings, begun(hospital).study.experiment, LOCAL))
    assert not list(hospital.settings.folder.rglob("patients.json"))
