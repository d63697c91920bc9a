"""A tiny study in folds, from the command to results.json, and what it leaves behind when it is taken up again."""

import shutil
from pathlib import Path

import pytest
from bad_steps import spoil
from tiny import TinyStudy

from common.errors import StudyError
from common.results.study import Results
from common.study.config import read_experiment
from common.training import classifier
from simulation.centralised import centralised_arms
from simulation.run import run

SHORT = (
    "study.folds=2",
    "study.min_cell=2",
    "study.arms=[real,real_synthetic]",
    "study.centralised=true",
    "federation.rounds=1",
    "classifier.federation.rounds=1",
    "~site.hospital3",
)


@pytest.fixture(scope="module")
def finished(tiny_study: TinyStudy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    study = TinyStudy(
        tiny_study.root, tuple(item for item in tiny_study.overrides if not item.startswith("site.hospital3"))
    )
    return run(study.with_output(tmp_path_factory.mktemp("trials"), "name=trials", *SHORT))


def results_of(folder: Path) -> Results:
    return Results.model_validate_json((folder / "results.json").read_text())


def test_every_fold_has_figures_of_its_own_and_a_generator_of_its_own(finished: Path) -> None:
    results = results_of(finished)
    assert [trial.name for trial in results.trials] == ["", "fold-1", "fold-2"]
    for trial in results.trials[1:]:
        assert set(trial.left_out) == {"hospital1", "hospital2", "federated", "sites/mean"}
        assert set(trial.arms) == {"hospital1", "hospital2", "federated", "external", "sites/mean"}
        assert trial.left_out["federated"]["real_synthetic"]["accuracy", "", "real_only"].value is not None
    generators = [
        (finished / "checkpoints" / "gan" / "cgan" / fold / "round-00001.safetensors").read_bytes()
        for fold in ("", "fold-1", "fold-2")
    ]
    assert len(set(generators)) == 3
    assert set(results.arms) == {"hospital1", "hospital2", "federated", "centralised"}


def test_the_tests_over_folds_say_how_they_were_made(finished: Path) -> None:
    results = results_of(finished)
    assert not results.not_compared
    for scope in ("hospital1", "federated"):
        accuracy, auc = results.comparisons[scope]
        assert (accuracy.score, auc.score, accuracy.folds) == ("accuracy", "auc", 2)
        (comparison,) = accuracy.comparisons
        assert (comparison.arm, comparison.against) == ("real_synthetic", "real")
        assert comparison.corrected.n == 2
    told = [trial.left_out["federated"]["real"]["accuracy"].value for trial in results.trials[1:]]
    (mean,) = [
        one.figures["accuracy"].mean
        for one in results.repeated
        if (one.kind, one.scope, one.arm) == ("folds", "federated", "real")
    ]
    assert mean == pytest.approx(sum(told) / 2)


def test_the_matrices_of_other_arms_and_their_gains_are_there(finished: Path) -> None:
    results = results_of(finished)
    assert results.cross_site is not None
    assert list(results.cross_site_arms) == list(results.cross_site_gain) == ["real_synthetic"]
    with_real, augmented = results.cross_site, results.cross_site_arms["real_synthetic"]
    gain = results.cross_site_gain["real_synthetic"].figures["accuracy_over_real_only"][0][1]
    own, plain = (one.figures["accuracy"][0][1] for one in (augmented, with_real))
    assert gain.value == pytest.approx(own.value - plain.value)
    assert gain.low is None or gain.low <= gain.value
    assert len(with_real.figures["f1"]) == len(with_real.models)


def test_a_study_that_lost_its_last_fold_ends_as_it_did(finished: Path) -> None:
    before = results_of(finished)
    for folder in (*finished.glob("checkpoints/classifier/*/fold-2"), finished / "checkpoints" / "arms" / "fold-2"):
        shutil.rmtree(folder)
    run([f"resume={finished}"])
    after = results_of(finished)
    assert after.trials == before.trials
    assert after.comparisons == before.comparisons


def test_a_classifier_of_all_sites_in_one_place_that_took_a_bad_step_is_not_kept(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment, folder = read_experiment(finished / "config.yaml"), tmp_path / "run"
    folder.mkdir()
    (folder / "results.json").write_bytes((finished / "results.json").read_bytes())
    files = sorted((finished / "sites").glob("hospital*/site.yaml"))
    spoil(classifier.Trainer, monkeypatch)
    with pytest.raises(StudyError, match=r"^centralised, real: .*not finite; lower classifier\.learning_rate"):
        centralised_arms(experiment, folder, files, lambda _: None)
    assert not list(folder.rglob("result.json"))
    assert (folder / "results.json").read_bytes() == (finished / "results.json").read_bytes()
