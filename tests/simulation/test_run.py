"""The whole way through on a tiny study: results, reports, and what a run leaves behind."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from tiny import TinyStudy
from torch import Tensor

from common.results.study import Results
from common.system.array_files import read_tensors
from common.system.files import read_json
from common.system.versions import installed_versions
from simulation.run import run


@pytest.fixture(scope="module")
def finished(tiny_study: TinyStudy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run."""
    return run(tiny_study.with_output(tmp_path_factory.mktemp("finished"), "name=tiny"))


def test_results_hold_every_part_of_the_study(finished: Path) -> None:
    results = Results.model_validate_json((finished / "report" / "results.json").read_text())
    assert list(results.sites) == ["external", "hospital1", "hospital2", "hospital3"]
    assert results.sites["hospital1"].patients == 10
    gan = results.gans["cgan"]
    assert [r.round for r in gan.rounds] == [1, 2]
    assert all(r.contributors == ["hospital1", "hospital2", "hospital3"] for r in gan.rounds)
    assert gan.rounds[0].scores["brain"]["frechet"].name == "FD-EffLite0"
    assert gan.final["brain"]["ssim", "lesion", "biharmonic"].value is not None
    assert list(results.arms) == ["hospital1", "hospital2", "hospital3", "federated"]
    assert set(results.arms["hospital2"]) == {"real", "real_synthetic", "synthetic", "copy_paste", "blob"}
    assert results.cross_site is not None
    assert results.cross_site.models == ["hospital1", "hospital2", "hospital3", "federated"]
    assert results.cross_site.sites == ["external", "hospital1", "hospital2", "hospital3"]
    assert results.run.finished is not None


def test_the_json_has_the_names_that_readers_of_it_rely_on(finished: Path) -> None:
    tree = json.loads((finished / "report" / "results.json").read_text())
    assert {"schema", "run", "sites", "gans", "arms", "cross_site", "timings"} <= set(tree)
    figures = tree["gans"]["cgan"]["rounds"][0]["scores"]["brain"]["figures"]
    assert {("ssim", ""), ("psnr", ""), ("ssim", "foreground"), ("ssim", "lesion"), ("frechet", "")} <= {
        (one["metric"], one["part"]) for one in figures
    }
    assert {"value", "low", "high", "standard_error", "n", "patients", "references"} <= set(figures[0])
    assert {"accuracy", "precision", "recall", "f1", "auc"} <= {
        one["metric"] for one in tree["arms"]["federated"]["real"]["figures"]
    }


def test_every_arm_takes_the_same_number_of_steps(finished: Path) -> None:
    results = Results.model_validate_json((finished / "results.json").read_text())
    local = {scores.steps for site, arms in results.arms.items() if site != "federated" for scores in arms.values()}
    assert local == {4}


def test_figures_can_be_recomputed_from_the_predictions_kept_at_the_site(finished: Path) -> None:
    results = Results.model_validate_json((finished / "results.json").read_text())
    with (finished / "sites" / "hospital1" / "results" / "predictions.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if (row["arm"], row["scope"]) == ("real", "local")]
    right = np.mean([(float(row["probability"]) >= 0.5) == (row["truth"] == "1") for row in rows])
    assert results.arms["hospital1"]["real"]["accuracy"].value == pytest.approx(right)


def test_both_reports_are_written_and_link_to_each_other(finished: Path) -> None:
    study = (finished / "report" / "index.html").read_text()
    site = (finished / "sites" / "hospital1" / "report" / "index.html").read_text()
    assert "sites/hospital1/report/index.html" in study
    assert "report/index.html" in site
    assert not re.search(r'(src|href)="https?://', study + site)


def test_the_study_report_and_the_coordinators_files_name_no_patient(finished: Path) -> None:
    for file in finished.rglob("*"):
        if file.is_file() and "sites" not in file.relative_to(finished).parts[:1]:
            assert b"case-1-" not in file.read_bytes(), file


def test_latest_points_to_the_run_and_a_second_run_gets_its_own_folder(finished: Path) -> None:
    assert (finished.parent / "latest").resolve() == finished
    assert finished.name == "tiny"


def test_a_finished_run_that_is_resumed_changes_neither_weights_nor_its_end(finished: Path) -> None:
    def weights() -> dict[str, bytes]:
        return {str(f): f.read_bytes() for f in sorted((finished / "checkpoints").rglob("*.safetensors"))}

    before, ended = weights(), read_json(finished / "results.json")["run"]["finished"]
    assert before
    made_with = read_json(finished / "results.json")["run"]["versions"]
    assert made_with == installed_versions()
    # It ended in another version than the one that resumes it, and that is the one that its figures are of.
    kept = finished / "checkpoints" / "versions.json"
    kept.write_text(json.dumps([{**installed_versions(), "torch": "0.0"}]))
    run([f"resume={finished}"])
    assert read_json(finished / "results.json")["run"]["versions"] == {**made_with, "torch": "0.0"}
    assert weights() == before
    assert read_json(finished / "results.json")["run"]["finished"] == ended


def test_the_weights_of_the_chosen_round_are_kept(finished: Path) -> None:
    chosen = read_json(finished / "results.json")["gans"]["cgan"]["chosen_round"]
    tensors = read_tensors(finished / "checkpoints" / "gan" / "cgan" / f"round-{chosen:05d}.safetensors")
    assert {name.split(".")[0] for name in tensors} == {"generator", "generator_ema", "discriminator"}


SHORT = (
    "federation.rounds=1",
    "federation.share=generator",
    "classifier.federation.rounds=1",
    "study.arms=[real]",
)


@pytest.fixture(scope="module")
def short(tiny_study: TinyStudy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of one round in which discriminators stay at the site."""
    return run(tiny_study.with_output(tmp_path_factory.mktemp("short"), *SHORT))


def after_a_round(folder: Path) -> dict[str, Tensor]:
    return read_tensors(folder / "checkpoints" / "gan" / "cgan" / "round-00001.safetensors")


def test_fedprox_pulls_the_weights_towards_the_global_ones(short: Path, tiny_study: TinyStudy, tmp_path: Path) -> None:
    proximal = run(tiny_study.with_output(tmp_path, *SHORT, "strategy=fedprox", "strategy.proximal_mu=0.5"))
    plain, pulled = after_a_round(short), after_a_round(proximal)
    assert any(not plain[name].equal(pulled[name]) for name in plain)


def test_discriminators_stay_at_the_site_when_only_the_generator_is_shared(short: Path) -> None:
    assert {name.split(".")[0] for name in after_a_round(short)} == {"generator", "generator_ema"}
    kept = [
        read_tensors(short / "sites" / site / "state" / short.name / "gan" / "cgan" / "round-00001.safetensors")
        for site in ("hospital1", "hospital2")
    ]
    own = [{k: v for k, v in state.items() if k.startswith("network.discriminator.")} for state in kept]
    assert own[0]
    assert any(not own[0][name].equal(own[1][name]) for name in own[0])
