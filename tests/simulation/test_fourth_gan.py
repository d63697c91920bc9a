"""A fourth GAN is a network, a trainer and a configuration, three new files: nothing that exists has to change."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fourth_gan import FILES
from tiny import TinyStudy

from common.results.study import Results
from common.system.array_files import read_tensors

ROOT = Path(__file__).parents[2]
PACKAGES = ("client", "common", "configs", "server", "simulation")

pytestmark = pytest.mark.slow
STUDY = ("study.arms=[real,real_synthetic]", "classifier.federation.rounds=1", "evaluation.frechet_images=8")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny_study: TinyStudy) -> Path:
    """The folder of a study of this GAN, run by a copy of the project with three more files."""
    copy, output = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("output")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, copy / package)
    for name, text in FILES.items():
        assert not (copy / name).exists()
        (copy / name).write_text(text.lstrip())
    overrides = [item for item in tiny_study.overrides if not item.startswith("models.cgan")]
    study = TinyStudy(tiny_study.root, tuple(overrides)).with_output(output, "model=[plain_gan]", *STUDY)
    done = subprocess.run(
        [sys.executable, "-m", "simulation.cli", "run", *study],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    (folder,) = [path for path in (output / "runs").iterdir() if path.name != "latest"]
    return folder


@pytest.fixture(scope="module")
def results(finished: Path) -> Results:
    return Results.model_validate_json((finished / "results.json").read_text())


def test_its_rounds_are_federated_and_scored_by_what_it_makes(results: Results) -> None:
    gan = results.gans["plain_gan"]
    assert (gan.family, gan.exchange, gan.protocol) == ("plain_gan", "average", "nearest")
    assert [r.contributors for r in gan.rounds] == [["hospital1", "hospital2", "hospital3"]] * 2
    assert all(r.scores["brain"].protocol == "nearest" for r in gan.rounds)
    assert all(set(r.losses) == {"discriminator", "generator"} for r in gan.rounds)


def test_its_chosen_round_has_final_scores(results: Results) -> None:
    final = results.gans["plain_gan"].final["brain"]
    assert 0 < final["nearest_ssim"].value < 1


def test_its_images_augment_the_classifier(results: Results) -> None:
    assert set(results.arms["hospital1"]) == {"real", "real_synthetic"}
    assert results.arms["hospital1"]["real_synthetic"]["accuracy"].value is not None


def test_its_weights_crossed_the_wire_under_their_own_names(finished: Path) -> None:
    weights = read_tensors(finished / "checkpoints" / "gan" / "plain_gan" / "round-00002.safetensors")
    assert {"generator.base.weight", "discriminator.last.bias"} <= set(weights)


def test_the_report_has_its_section(finished: Path) -> None:
    page = (finished / "report" / "index.html").read_text()
    assert "plain_gan: whole slices from noise" in page
    assert "plain_gan of round" in page
    assert (finished / "reference" / "plain_gan" / "brain.npz").exists()
