"""``oncofed-server run --plan``: what is said of a study before it starts, and when a start needs a yes."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from enrolment_service import federation
from tiny import write_site
from tiny_images import write_image_site

from common.errors import ConfigError
from common.study.config import compose, read_experiment, to_yaml
from server.cli import main
from server.operation.plan import make_plan, plan_lines, planned_sites, short_lines
from server.operation.run import RunOptions, run_command
from server.operation.studies import keep_study
from server.operation.study_checks import checked, composed
from server.progress_log import ProgressLog
from server.provision.federation import load_federation
from server.provision.provision import Places, provision

STUDY = ("preset=demo", "model=[cgan]", "organ=[brain]", "models.cgan.perceptual_weight=0", "image.size=32")


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A federation of three brain sites, of which two say how many patients they have; nothing runs."""
    for number, part in enumerate(("pretraining", "selection", "final")):
        write_site(tmp_path / "reference" / part, 2, seed=number)
    sites = [
        {"name": "hospital1", "organ": "brain", "patients": 28},
        {"name": "hospital2", "organ": "brain", "patients": 80},
        {"name": "hospital3", "organ": "brain"},
    ]
    values = federation(443, sites=sites).model_dump(mode="json", exclude_none=True)
    path = tmp_path / "federation.yaml"
    path.write_text(yaml.safe_dump(values | {"reference": {"brain": "reference"}}))
    monkeypatch.chdir(tmp_path)
    return path


def places(file: Path) -> Places:
    return Places(file.parent / "provision")


def enrol(file: Path) -> None:
    provision(load_federation(file), places(file))
    with places(file).registry.edit() as registry:
        for record in registry.sites.values():
            record.state = "enrolled"


def planned(file: Path, *overrides: str):
    settings = load_federation(file)
    sites = planned_sites(settings, places(file), [site.name for site in settings.sites])
    given = [*STUDY, *overrides]
    study = checked(composed(given), {site.name: site.organ for site in sites}, settings.reference, given)
    return make_plan(study, sites, places(file))


FRACTIONS = ("split.train=0.7", "split.validation=0.2", "split.test=0.1")


def test_scores_that_will_be_null_are_named_with_what_would_tell_them(file: Path) -> None:
    enrol(file)
    plan = planned(file, *FRACTIONS)
    assert plan.warnings == [
        "at hospital1 28 patients leave 3 for testing: fewer than 5, its scores will be null; split.test=0.17 "
        "split.train=0.63 would leave 5"
    ]
    assert plan.notes == [
        "hospital3: what will be null is unknown: ask the site, or let it declare its patients (`patients` in "
        "federation.yaml); with this split 45 patients are enough to test on"
    ]
    assert planned(file, "split.train=0.63", "split.validation=0.2", "split.test=0.17").warnings == []


def test_the_pilot_measures_sites_of_28_patients(file: Path) -> None:
    enrol(file)
    plan = planned(file, "preset=pilot", "image.size=32")
    assert plan.warnings == []
    assert "with this split 15 patients are enough to test on" in plan.notes[0]


def test_folds_and_points_that_a_site_cannot_fill_are_named(file: Path) -> None:
    enrol(file)
    plan = planned(file, "split.train=0.6", "split.validation=0", "split.test=0.4", "study.folds=5", "study.curve=[40]")
    assert [one for one in plan.warnings if "hospital1" in one] == [
        "at hospital1 28 patients leave folds of 3: fewer than 5, their scores will be null; fewer study.folds make "
        "larger ones",
        "at hospital1 study.curve=40: it has 17 training patients, so this point is measured on all of them",
    ]


def test_what_a_site_declared_in_an_earlier_study_counts(file: Path, tmp_path: Path) -> None:
    enrol(file)
    earlier = tmp_path / "runs" / "first"
    earlier.mkdir(parents=True)
    (earlier / "results.json").write_text(json.dumps({"sites": {"hospital3": {"patients": 20}}}))
    keep_study(places(file), earlier, ("hospital3",), "1", datetime.now(UTC))
    plan = planned(file, *FRACTIONS)
    assert "hospital3  brain, enrolled, 20 patients (declared in first)" in "\n".join(plan_lines(plan))
    assert any(one.startswith("at hospital3 20 patients leave 2 for testing") for one in plan.warnings)


def test_bytes_and_seconds(file: Path, tmp_path: Path) -> None:
    enrol(file)
    plan = planned(file, "federation.rounds=3")
    gan, classifier = plan.traffic
    assert (gan.training, gan.exchanges, classifier.exchanges) == ("cgan", 3, 4 * 5)
    assert gan.size > 1_000_000
    assert "time unknown" in short_lines(plan)[0]
    # The same amount of work, in another number of rounds.
    earlier = tmp_path / "runs" / "first"
    log = ProgressLog(earlier)
    log.plan([("gan/cgan", 2)])
    log.phase("gan/cgan", 2)
    log.advance(round=1, contributors=[], losses={}, scores={}, seconds=30.0)
    (earlier / "config.yaml").write_text(to_yaml(plan.experiment))
    keep_study(places(file), earlier, ("hospital1",), "1", datetime.now(UTC))
    rounds = sum(count for _, count in planned(file, "federation.rounds=3").phases)
    assert planned(file, "federation.rounds=3").seconds == 30.0 * rounds
    assert planned(file, "federation.local_steps=7").seconds is None


def test_the_cost_in_privacy(file: Path) -> None:
    enrol(file)
    plan = planned(file, "privacy=patient_dp", "federation.rounds=1", "classifier.federation.rounds=1")
    cost = plan.privacy["hospital2"]
    assert cost.patients == 80
    assert cost.rate == 4 / 80
    assert cost.sigma is not None
    assert 0.3 < cost.sigma < 50
    said = "\n".join(short_lines(plan))
    assert "privacy: patient_dp, epsilon 8 of each site's budget at most" in said
    assert f"privacy at hospital2: {cost.steps} steps with noise about" in said
    assert "hospital3: what the study costs and tells is unknown" in said


def test_gradients_and_a_site_of_another_organ_are_warned_of(file: Path, tmp_path: Path) -> None:
    for number, part in enumerate(("pretraining", "selection", "final")):
        write_image_site(tmp_path / "lungs" / part, 2, seed=number)
    values = yaml.safe_load(file.read_text())
    values["sites"][1] |= {"organ": "lung"}
    values["sites"][2] |= {"organ": "liver"}
    file.write_text(yaml.safe_dump(values | {"reference": {"brain": "reference", "lung": "lungs"}}))
    enrol(file)
    settings = load_federation(file)
    sites = planned_sites(settings, places(file), [site.name for site in settings.sites])
    organs = {site.name: site.organ for site in sites}
    domains = "[{organ: brain, contrasts: [flair]}, {organ: lung, contrasts: [ct]}]"
    given = ["model=[cyclegan]", "organ=[brain,lung]", "models.cyclegan.exchange=gradients"]
    study = composed(["preset=demo", *given, f"models.cyclegan.domains={domains}"])
    study.reference["lung"].reader = "image_folder"
    study.reference["lung"].options = {"tumour_classes": ["tumour"], "hu_range": [-1000, 400]}
    study = checked(study, organs, settings.reference)
    plan = make_plan(study, sites, places(file))
    assert any("hospital1, hospital2 drop out of cyclegan unless their site.yaml allows it" in w for w in plan.warnings)
    assert "hospital3: takes part in nothing, it has liver and the study is about brain, lung" in plan.warnings


def test_a_reference_set_that_is_too_small_or_of_another_format_is_refused(file: Path, tmp_path: Path) -> None:
    enrol(file)
    (tmp_path / "empty").mkdir()
    for part in ("pretraining", "selection", "final"):
        (tmp_path / "empty" / part).mkdir()
    with pytest.raises(ConfigError, match=r"reference\.brain\.path=.*empty: no BraTS case"):
        planned(file, f"reference.brain.path={tmp_path}/empty")
    for number, part in enumerate(("pretraining", "selection", "final")):
        write_site(tmp_path / "empty" / part, 1, seed=number)
    with pytest.raises(ConfigError, match="selection holds 1 patient that brats can read, 2 are needed"):
        planned(file, f"reference.brain.path={tmp_path}/empty")


def test_plan_starts_nothing_and_writes_what_doctor_reads(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is provisioned, too: hospitals can be asked whether their data suit a study."""
    run_command(file, places(file), [*STUDY, "name=first"], RunOptions(plan=True))
    said = capsys.readouterr().out
    assert "WARNING: hospital1: has not joined (not provisioned); a study starts without it" in said
    assert "for hospitals: oncofed-client doctor site.yaml --study first.config.yaml" in said
    assert not (file.parent / "runs").exists()
    written = read_experiment(Path("first.config.yaml"))
    assert written.models == compose([*STUDY, "site=none"]).models
    assert str(file.parent) not in Path("first.config.yaml").read_text()
    run_command(file, places(file), [*STUDY, "name=first"], RunOptions(plan=True))
    with pytest.raises(ConfigError, match="is no study's configuration, and is left alone"):
        run_command(file, places(file), list(STUDY), RunOptions(plan=True, to=file))
    assert "hospital1" in file.read_text()


def answering(monkeypatch: pytest.MonkeyPatch, answer: str | None) -> list[str]:
    """The server answers and takes studies; somebody at the terminal answers, or nobody is there."""
    taken: list[str] = []

    def take(home: object, folder: Path, expected: object) -> str:
        taken.append(folder.name)
        return "1"

    monkeypatch.setattr("server.operation.run.require_server", lambda home, file: None)
    monkeypatch.setattr("server.operation.run.submit", take)
    monkeypatch.setattr("sys.stdin.isatty", lambda: answer is not None, raising=False)
    monkeypatch.setattr("builtins.input", lambda prompt: answer)
    return taken


@pytest.mark.parametrize(
    ("answer", "yes", "starts"),
    [(None, False, False), (None, True, True), ("", False, False), ("no", False, False), ("y", False, True)],
)
def test_a_plan_with_warnings_needs_a_yes(
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answer: str | None,
    yes: bool,
    starts: bool,
) -> None:
    enrol(file)
    taken = answering(monkeypatch, answer)
    arguments = ["run", str(file), *STUDY, *FRACTIONS, "--detach", *(["--yes"] if yes else [])]
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == (0 if starts else 2)
    assert bool(taken) is starts
    assert (file.parent / "runs").exists() is starts
    said = capsys.readouterr()
    assert "WARNING: at hospital1 28 patients leave 3 for testing" in said.out
    assert starts or ("say --yes" if answer is None else "not started") in said.err


def test_a_plan_without_warnings_starts_at_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    enrol(file)
    taken = answering(monkeypatch, None)
    run_command(file, places(file), [*STUDY, "name=calm", "split.train=20"], RunOptions(detach=True))
    assert taken == ["calm"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"plan": True, "detach": True}, "--detach: has no effect with --plan"),
        ({"plan": True, "beside": True, "yes": True}, "--beside, --yes: has no effect with --plan"),
        ({"plan": True, "resume": Path("runs/a")}, "--resume: has no effect with --plan"),
        ({"resume": Path("runs/a"), "yes": True}, "--resume: has no effect with --yes"),
        ({"to": Path("a.yaml")}, "--to: has no effect with a run without --plan"),
    ],
)
def test_options_that_would_have_no_effect_together_are_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        RunOptions(**options)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("site=organs", "describes simulated sites"),
        ("site.hospital1.path=/data", "describes simulated sites"),
        ("+site.hospital1={organ: brain}", "describes simulated sites"),
        ("++partition.p.sites=3", "describes simulated sites"),
        ("cohort.train=3", "describes simulated sites"),
        ("simulation.engine=ray", "belongs to oncofed-simulation"),
        ("simulation={threads: 3}", "belongs to oncofed-simulation"),
        ("study.centralised=true", "only in a simulation"),
        ("reference.lung.path=/data", "no site that is to take part has this organ; they have brain"),
        ("organs.liver.min_tumour_pixels=4", "no site that is to take part has this organ"),
        ("organ=[brain,lung]", "no site that is to take part has lung"),
        ("evaluation.device=gpu0", "evaluation.device=gpu0: must be cpu, cuda or cuda:<index>"),
        ("name=../elsewhere", "is that of a folder"),
        ("name=latest", "is that of a folder"),
    ],
)
def test_keys_without_an_effect_between_institutions_are_refused(file: Path, override: str, said: str) -> None:
    given = [*(one for one in STUDY if not one.startswith("organ=")), override]
    with pytest.raises(ConfigError, match=said):
        checked(composed(given), {"a": "brain", "b": "brain"}, {"brain": file.parent / "reference"}, given)


def test_keys_of_the_coordinators_own_side_have_an_effect(file: Path, tmp_path: Path) -> None:
    given = [*STUDY, "simulation.runs_dir=elsewhere", "simulation.cache_dir=kept", "study.centralised=false"]
    made = checked(composed(given), {"a": "brain", "b": "brain"}, {"brain": tmp_path / "reference"}, given)
    assert made.simulation.runs_dir == str(tmp_path / "elsewhere")
    assert made.simulation.cache_dir == str(tmp_path / "kept")
    assert made.reference["brain"].path == str(tmp_path / "reference")
    own = checked(composed([*given, f"reference.brain.path={tmp_path}/reference"]), {"a": "brain", "b": "brain"}, {})
    assert own.reference["brain"].path == str(tmp_path / "reference")
