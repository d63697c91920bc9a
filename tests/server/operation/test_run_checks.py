"""What ``oncofed-server run`` refuses before anything is handed over."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from enrolment_service import federation

from common.errors import ConfigError
from common.study.config import compose
from server.operation.studies import find_study, keep_study, started_studies
from server.operation.study_checks import checked
from server.operation.submit import enrolled_sites
from server.provision.provision import Places, provision
from server.provision.registry import KeyRecord, utc_now
from server.silences import note_silences, silences

BRAIN = {"north": "brain", "south": "brain"}


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    for part in ("pretraining", "selection", "final"):
        (tmp_path / "reference" / part).mkdir(parents=True)
    return tmp_path / "reference"


def study(*overrides: str):
    return compose(["site=none", "preset=demo", "model=[cgan]", *overrides])


def test_a_study_keeps_the_organs_of_its_sites(reference: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(reference.parent)
    made = checked(study("reference.brain.path=reference", "models.cgan.perceptual_weight=0"), BRAIN)
    assert list(made.organs) == list(made.reference) == ["brain"]
    assert made.reference["brain"].path == str(reference)
    assert made.site == {}


@pytest.mark.parametrize(
    ("overrides", "sites", "said"),
    [
        ((), BRAIN, "reference.brain.path must name the coordinator's reference set"),
        (("reference.brain.path=/nowhere",), BRAIN, "has no folder pretraining"),
        (("strategy.quorum=3",), BRAIN, "strategy.quorum=3: only 2 sites"),
        (("organ=[lung]",), {"north": "kidney"}, "the study is about none of kidney"),
    ],
)
def test_what_cannot_work_is_refused(overrides: tuple[str, ...], sites: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        checked(study(*overrides), sites)


def test_only_sites_that_have_joined_can_be_named(tmp_path: Path) -> None:
    places = Places(tmp_path / "provision")
    provision(federation(443), places)
    with pytest.raises(ConfigError, match="no site has joined yet"):
        enrolled_sites(places, ())
    with places.registry.edit() as registry:
        registry.sites["hospital1"].state = "enrolled"
        registry.sites["hospital1"].key = KeyRecord(public="ecdsa-sha2-nistp384 AAAA", enrolled=utc_now())
    assert enrolled_sites(places, ()) == enrolled_sites(places, ("hospital1",)) == ("hospital1",)
    with pytest.raises(ConfigError, match=r"--sites hospital2: has not joined \(invited\)"):
        enrolled_sites(places, ("hospital2",))
    with pytest.raises(ConfigError, match=r"not in federation\.yaml"):
        enrolled_sites(places, ("elsewhere",))


def test_studies_are_listed_and_a_resumed_one_is_the_newest(tmp_path: Path) -> None:
    places, now = Places(tmp_path), datetime(2030, 1, 31, tzinfo=UTC)
    for name, number in (("a", "1"), ("b", "2"), ("a", "3")):
        keep_study(places, tmp_path / name, ("north",), number, now)
    assert [one.flower_run for one in started_studies(places)] == ["2", "3"]
    found = find_study(places, tmp_path / "a")
    assert found is not None
    assert found.flower_run == "3"
    assert find_study(places, tmp_path / "c") is None
    (tmp_path / "studies.json").write_text("[1")
    with pytest.raises(ConfigError, match="it only lists where studies lie"):
        started_studies(places)


def test_silences_are_kept_by_phase_and_a_repeated_phase_replaces_its_own(tmp_path: Path) -> None:
    note_silences(tmp_path, "arms", {"north": "no reply"})
    note_silences(tmp_path, "hello", {"south": "not connected"})
    note_silences(tmp_path, "arms", {})
    assert silences(tmp_path) == {"hello": {"south": "not connected"}}
