"""A study that trains a translation of contrasts beside the cGAN; one hospital lacks one of the contrasts."""

from pathlib import Path

import pytest
from tiny import TINY, TinyStudy, write_site

from common.errors import ConfigError
from common.results.study import Results
from common.system.array_files import read_arrays, read_tensors
from simulation.run import run

MODELS = (
    "model=[cgan,translation]",
    "study.arms=[real,real_synthetic]",
    "classifier.federation.rounds=1",
    "models.translation.width=4",
    "models.translation.depth=2",
    "models.translation.discriminator_width=4",
    "models.translation.discriminator_layers=1",
    "models.translation.batch_size=4",
)
SUBJECT = "brain t1 to brain t2"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> TinyStudy:
    root = tmp_path_factory.mktemp("translation")
    overrides = [*TINY, *MODELS]
    held = {
        "hospital1": ("flair", "t1", "t2"),
        "hospital2": ("flair", "t1", "t2"),
        "hospital3": ("flair", "t1"),
        "external": ("flair",),
    }
    for number, (site, contrasts) in enumerate(held.items(), start=1):
        folder = write_site(root / site, 10 if site != "external" else 5, seed=number, contrasts=contrasts)
        overrides += [f"site.{site}.path={folder}", f"site.{site}.contrasts=[{','.join(contrasts)}]"]
    for number, part in enumerate(("pretraining", "selection", "final"), start=10):
        write_site(root / "reference" / part, 4, seed=number, contrasts=("flair", "t1", "t2"))
    overrides.append(f"reference.brain.path={root / 'reference'}")
    return TinyStudy(root, tuple(overrides))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, study: TinyStudy) -> Path:
    return run(study.with_output(tmp_path_factory.mktemp("finished")))


@pytest.fixture(scope="module")
def results(finished: Path) -> Results:
    return Results.model_validate_json((finished / "report" / "results.json").read_text())


def test_only_sites_that_hold_both_contrasts_take_part_and_the_others_say_so(results: Results) -> None:
    translation, cgan = results.gans["translation"], results.gans["cgan"]
    assert translation.sites == ["hospital1", "hospital2"]
    assert cgan.sites == ["hospital1", "hospital2", "hospital3"]
    assert [r.contributors for r in translation.rounds] == [["hospital1", "hospital2"]] * 2
    assert any("translation: takes no part" in note for note in results.sites["hospital3"].notes)
    assert not any("translation" in note for note in results.sites["hospital1"].notes)


def test_every_round_is_scored_against_the_real_contrast_and_beside_unchanged_slices(results: Results) -> None:
    gan = results.gans["translation"]
    for r in gan.rounds:
        scores = r.scores[SUBJECT]
        assert scores.protocol == "translation"
        assert scores.patients == 4
        assert scores["frechet"].references["unchanged"] is not None
        # The same unchanged slices every round.
        first = gan.rounds[0].scores[SUBJECT]
        assert (
            scores["psnr", "foreground"].references["unchanged"] == first["psnr", "foreground"].references["unchanged"]
        )
    best = max(gan.rounds, key=lambda r: r.scores[SUBJECT]["ssim", "foreground"].value)
    assert gan.chosen_round == best.round


def test_the_chosen_round_is_scored_once_with_intervals_over_patients(results: Results) -> None:
    final = results.gans["translation"].final[SUBJECT]
    for interval in (final["ssim", "foreground"], final["psnr", "foreground", "unchanged"]):
        assert interval.low <= interval.value <= interval.high


def test_the_arms_use_the_gan_that_makes_labelled_slices(results: Results, finished: Path) -> None:
    assert set(results.arms["hospital1"]) == {"real", "real_synthetic"}
    assert not (finished / "checkpoints" / "synthesis" / "translation").exists()


def test_the_average_of_the_generator_travels_with_it(finished: Path) -> None:
    weights = read_tensors(finished / "checkpoints" / "gan" / "translation" / "round-00002.safetensors")
    assert {name.partition(".")[0] for name in weights} == {"generator", "generator_ema", "discriminator"}


def test_the_report_shows_it(finished: Path) -> None:
    page = (finished / "report" / "index.html").read_text()
    assert "translation: one contrast made from another of the same slice" in page
    assert "No part in it: hospital3" in page
    gallery = read_arrays(finished / "reference" / "translation" / "brain-t1-to-brain-t2.npz")
    assert gallery["versions"].tolist() == ["source", "translated", "real target"]
    assert gallery["by_round"].shape[0] == 2


def test_a_study_without_enough_sites_of_both_contrasts_is_refused_before_any_training(
    study: TinyStudy, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"strategy.quorum=2: only 1 site \(hospital1\) can train translation"):
        run(study.with_output(tmp_path, "site.hospital2.contrasts=[flair,t1]", "strategy.quorum=2"))
    assert not list(tmp_path.rglob("round-*"))
