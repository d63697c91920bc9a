"""A private study from one command to its reports: what is spent, what a spent budget does, and public pre-training."""

import json
from math import inf
from pathlib import Path

import pytest
from flwr.app import Message
from tiny import TinyStudy

from client.app import make_app, site_from_node_config
from client.privacy.budget import Budget, BudgetSpentError
from client.report.build import build_site_report
from client.site import load_site
from common.errors import ConfigError
from common.protocol.actions import Action
from common.results.study import Results
from common.study.config import compose
from common.study.experiment_paths import with_absolute_paths
from common.study.progress import NoProgress
from common.system.array_files import read_tensors
from server.app import run_study
from server.report.build import build_study_report
from server.run_folder import RunFolder
from simulation import run as run_module
from simulation.grid import InProcessGrid
from simulation.run import run
from simulation.sites import prepare_everything

PRIVATE = ("privacy=patient_dp", "privacy.expected_batch_size=2", "privacy.slices_per_patient=2", "study.arms=[real]")


def results_of(folder: Path) -> Results:
    return Results.model_validate_json((folder / "results.json").read_text())


@pytest.fixture(scope="module")
def finished(tiny_study: TinyStudy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("private")
    more = ("pretraining.gan_steps=6", "pretraining.classifier_steps=6", "site.hospital2.epsilon=5")
    return run(tiny_study.with_output(folder, *PRIVATE, *more))


def test_one_command_leads_to_reports_that_say_what_was_spent(finished: Path) -> None:
    privacy = results_of(finished).privacy
    assert privacy is not None
    assert set(privacy.sites) == {"hospital1", "hospital2", "hospital3"}
    assert privacy.refusals == []
    for site, statement in privacy.sites.items():
        budget = Budget(load_site(finished / "sites" / site / "site.yaml"))
        assert statement.epsilon_rdp == pytest.approx(budget.epsilon())
        assert statement.epsilon <= statement.epsilon_rdp <= min(budget.cap, 8.0)
        assert statement.models.keys() == {"cgan", "classifier"}
        assert max(statement.models.values()) < statement.epsilon < sum(statement.models.values())
    # A lower cap of one's own means more noise, not less training.
    sigmas = {site: one.mechanisms[0].sigma for site, one in privacy.sites.items()}
    assert sigmas["hospital2"] > sigmas["hospital1"] == sigmas["hospital3"]
    assert privacy.sites["hospital2"].epsilon_rdp <= 5.0
    page = (finished / "report" / "index.html").read_text()
    assert "What epsilon does not cover" in page
    site_page = (finished / "sites" / "hospital2" / "report" / "index.html").read_text()
    assert "of the hospital&#39;s cap of 5" in site_page


def test_each_simulated_site_is_a_hospital_with_a_register_of_its_own(finished: Path) -> None:
    for site in ("hospital1", "hospital2", "hospital3"):
        assert (finished / "sites" / site / "privacy" / "patients" / "patients.json").exists()
    assert not (finished / "sites" / ".oncofed-patients").exists()
    assert not (finished.parent / ".witnesses").exists()


def test_the_run_ends_with_an_audit_of_each_models_step(finished: Path) -> None:
    privacy = results_of(finished).privacy
    assert privacy is not None
    assert [one.mechanism for one in privacy.audit] == ["gan/cgan/discriminator", "gan/cgan/generator", "classifier"]
    for one in privacy.audit:
        assert one.bound <= one.claimed
        assert one.stated is not None
        # Not that each holds: at its level a sound run is called faulty once in a few hundred times.
        assert min(one.stated.p.values()) > 1e-7
        assert one.stated.noise == pytest.approx(1.0, abs=0.1)
    page = (finished / "report" / "index.html").read_text()
    assert "call a fault where there is none in at most 1% of audits" in page


def test_public_pre_training_is_scored_before_the_first_round_and_costs_nothing(finished: Path) -> None:
    (gan_run,) = results_of(finished).gans["cgan"].runs
    assert gan_run.pretrained is not None
    assert set(gan_run.pretrained) == {"brain"}
    assert "Public pre-training" in (finished / "report" / "index.html").read_text()
    weights = read_tensors(finished / "checkpoints" / "gan" / "cgan" / "pretrained.safetensors")
    assert any(key.startswith("generator.") for key in weights)
    entries = (finished / "sites" / "hospital1" / "privacy" / "ledger.jsonl").read_text().splitlines()[1:]
    assert not [line for line in entries if "pretraining" in line]


def test_no_loss_of_a_private_training_is_in_the_coordinators_results(finished: Path) -> None:
    tree = results_of(finished)
    assert all(one.losses == {} for one in tree.gans["cgan"].rounds)
    assert all(tree.arms[site] == {} for site in ("hospital1", "hospital2", "hospital3"))
    assert tree.arms["federated"]["real"].patients is None
    assert tree.cross_site is not None
    assert tree.cross_site.models == ["federated"]


class Spending(InProcessGrid):
    """Another study spends what is left at one site after the first message."""

    files: list[Path]
    spent = False

    def _run(self, message: Message) -> Message:
        reply = super()._run(message)
        site = next((file.parent.name for file in self.files if file.parent.name == "hospital3"), None)
        if message.metadata.message_type == Action.TRAIN_GAN and site and not self.spent:
            self.spent = True
            budget = Budget(load_site(next(file for file in self.files if file.parent.name == site)))
            try:
                while True:
                    budget.charge(run="another study", mechanism="m", sigma=2.0, q=0.5, steps=5, run_cap=inf)
            except BudgetSpentError:
                pass
        return reply


@pytest.mark.slow
def test_a_site_whose_budget_is_spent_refuses_and_the_study_goes_on_without_it(
    tiny_study: TinyStudy, tmp_path: Path
) -> None:
    experiment = with_absolute_paths(compose(tiny_study.with_output(tmp_path, *PRIVATE)))
    folder = RunFolder.new(experiment)
    settings, files = prepare_everything(folder, NoProgress())
    grid = Spending(make_app(site_from_node_config), files)
    grid.files = files
    run_study(grid, settings)
    tree = results_of(folder.path)
    assert tree.run.finished
    assert tree.privacy is not None
    refusals = [(one.site, one.phase, one.round, one.reason) for one in tree.privacy.refusals]
    assert refusals == [
        ("hospital3", "gan/cgan", 1, '"its privacy budget is spent"'),
        ("hospital3", "gan/cgan", 2, '"its privacy budget is spent"'),
        ("hospital3", "classifier/real", 1, '"its privacy budget is spent"'),
        ("hospital3", "classifier/real", 2, '"its privacy budget is spent"'),
    ]
    assert tree.gans["cgan"].rounds[1].contributors == ["hospital1", "hospital2"]
    for site in ("hospital1", "hospital3"):
        build_site_report(folder.path / "sites" / site)
    page = build_study_report(folder.path).read_text()
    assert "its privacy budget is spent" in page
    site_page = (folder.path / "sites" / "hospital3" / "report" / "index.html").read_text()
    assert "over all studies" in site_page


@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on_and_pays_for_what_it_repeats(
    tiny_study: TinyStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = run_module.run_study

    def stopped(grid: InProcessGrid, settings: object) -> object:
        calls = []
        handle = grid._run

        def counted(message: Message) -> Message:
            if message.metadata.message_type == Action.TRAIN_GAN:
                calls.append(message)
                if len(calls) == 6:  # the last site of the second round has trained, and its reply is lost
                    handle(message)
                    raise KeyboardInterrupt
            return handle(message)

        monkeypatch.setattr(grid, "_run", counted)
        return real(grid, settings)  # type: ignore[arg-type]

    monkeypatch.setattr(run_module, "run_study", stopped)
    with pytest.raises(KeyboardInterrupt):
        run(tiny_study.with_output(tmp_path, *PRIVATE, "privacy.reserve=0.3", "name=stopped"))
    monkeypatch.undo()
    folder = tmp_path / "runs" / "stopped"
    run([f"resume={folder}"])
    privacy = results_of(folder).privacy
    assert privacy is not None
    steps = {one.mechanism: one.steps for one in privacy.sites["hospital1"].mechanisms}
    # Two rounds of two steps, and the second of them once more.
    assert steps["gan/cgan/generator"] == steps["gan/cgan/discriminator"] == 6
    assert steps["classifier/real/classifier"] == 4
    assert json.loads((folder / "sites" / "hospital1" / "results" / "privacy.json").read_text())["cap"] == 8.0
    assert privacy.sites["hospital1"].epsilon_rdp <= 8.0


def test_what_cannot_be_private_is_refused_before_anything_is_written(tiny_study: TinyStudy, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="BatchNorm2d mixes patients"):
        run(tiny_study.with_output(tmp_path, *PRIVATE, "classifier.network=resnet50"))
    assert not (tmp_path / "runs").exists()
