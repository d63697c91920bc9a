"""A study that trains all three GANs; no site holds both sides of the translation."""

from pathlib import Path

import pytest
from tiny import TINY, TINY_CYCLEGAN, TINY_WGAN, TinyStudy, write_site

from common.errors import StudyError
from common.results.study import Results
from common.system.array_files import read_arrays, read_tensors
from simulation.run import run

GANS = (
    "model=[cgan,wgan_gp,cyclegan]",
    "classifier.federation.rounds=1",
    "classifier.federation.local_steps=2",
    "study.arms=[real,real_synthetic]",
    *TINY_WGAN,
    *TINY_CYCLEGAN,
    "evaluation.paired_images=6",
    "evaluation.frechet_images=8",
)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> TinyStudy:
    root = tmp_path_factory.mktemp("three-gans")
    overrides = [*TINY, *GANS]
    for number, (site, contrasts) in enumerate(
        {"hospital1": ("flair", "t1"), "hospital2": ("flair", "t2"), "hospital3": ("flair", "t2")}.items(), start=1
    ):
        folder = write_site(root / site, 10, seed=number, contrasts=contrasts)
        overrides += [f"site.{site}.path={folder}", f"site.{site}.contrasts=[{','.join(contrasts)}]"]
    overrides.append(f"site.external.path={write_site(root / 'external', 5, seed=4)}")
    for number, part in enumerate(("pretraining", "selection", "final"), start=10):
        write_site(root / "reference" / part, 4, seed=number, contrasts=("flair", "t1", "t2"))
    overrides.append(f"reference.brain.path={root / 'reference'}")
    return TinyStudy(root, tuple(overrides))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, study: TinyStudy) -> Path:
    return run(study.with_output(tmp_path_factory.mktemp("finished"), "+models.wgan_gp.runs=2"))


@pytest.fixture(scope="module")
def results(finished: Path) -> Results:
    return Results.model_validate_json((finished / "report" / "results.json").read_text())


def test_each_gan_is_scored_by_what_it_makes(results: Results) -> None:
    kinds = {
        name: {one.protocol for r in gan.rounds for one in r.scores.values()} for name, gan in results.gans.items()
    }
    assert kinds == {"cgan": {"paired"}, "wgan_gp": {"nearest"}, "cyclegan": {"cycle"}}
    assert set(results.gans["cyclegan"].final) == {"brain t1 to brain t2", "brain t2 to brain t1"}
    for gan in results.gans.values():
        assert set(gan.rounds[0].scores) == set(gan.final)
        assert [r.contributors for r in gan.rounds] == [["hospital1", "hospital2", "hospital3"]] * 2


def test_the_reference_set_holds_both_contrasts_so_the_translation_has_a_truth(results: Results) -> None:
    final = results.gans["cyclegan"].final["brain t1 to brain t2"]
    assert final["psnr", "foreground"].references["unchanged"] < 20


def test_runs_with_other_seeds_are_trained_and_scored_on_their_own(finished: Path, results: Results) -> None:
    first, second = results.gans["wgan_gp"].runs
    assert (first.run, second.run) == (1, 2)
    assert first.final == results.gans["wgan_gp"].final
    assert first.final != second.final
    folder = finished / "checkpoints" / "gan" / "wgan_gp"
    assert (folder / "round-00002.safetensors").exists()
    assert (folder / "run-2" / "round-00002.safetensors").exists()


def test_a_gallery_is_kept_for_each_subject(finished: Path) -> None:
    kept = {str(file.relative_to(finished / "reference")) for file in (finished / "reference").rglob("*.npz")}
    translations = {f"cyclegan/brain-{a}-to-brain-{b}.npz" for a, b in (("t1", "t2"), ("t2", "t1"))}
    assert kept == {"cgan/brain.npz", "wgan_gp/brain.npz", "explanations/brain.npz", *translations}
    assert read_arrays(finished / "reference" / "wgan_gp" / "brain.npz")["by_round"].shape[0] == 2


def test_the_arms_train_on_the_first_gan_that_labels_what_it_makes(results: Results, finished: Path) -> None:
    assert set(results.arms["hospital1"]) == {"real", "real_synthetic"}
    assert (finished / "checkpoints" / "synthesis" / "cgan" / "result.json").exists()
    assert not (finished / "checkpoints" / "synthesis" / "wgan_gp").exists()


def test_the_coordinator_keeps_the_optimisers_of_exchanged_gradients(finished: Path) -> None:
    state = read_tensors(finished / "checkpoints" / "gan" / "cyclegan" / "state-00002.safetensors")
    assert int(state["steps_done"]) == 4
    assert any(key.startswith("optimiser.generator.") for key in state)


def test_a_training_by_gradients_that_was_stopped_ends_like_one_that_was_not(
    finished: Path, study: TinyStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from server.gradients import Gradients

    original = Gradients.round

    def stops(self: Gradients, training: object, server_round: int, *more: object) -> object:
        if server_round == 2:
            raise KeyboardInterrupt
        return original(self, training, server_round, *more)  # type: ignore[arg-type]

    only = ("model=[cyclegan]", "study.arms=[real]")
    overrides = [item for item in study.overrides if not item.startswith(("model=", "models.cgan", "models.wgan_gp"))]
    tiny = TinyStudy(study.root, tuple(overrides))
    monkeypatch.setattr(Gradients, "round", stops)
    with pytest.raises(KeyboardInterrupt):
        run(tiny.with_output(tmp_path, *only))
    monkeypatch.setattr(Gradients, "round", original)
    (folder,) = [path for path in (tmp_path / "runs").iterdir() if path.name != "latest"]
    run([f"resume={folder}"])
    file = Path("checkpoints/gan/cyclegan/round-00002.safetensors")
    ours, theirs = read_tensors(folder / file), read_tensors(finished / file)
    assert all((ours[name] == theirs[name]).all() for name in theirs)


def test_a_study_without_a_site_of_each_domain_is_refused_before_any_training(study: TinyStudy, tmp_path: Path) -> None:
    changes = [f"site.hospital{number}.contrasts=[flair]" for number in (2, 3)]
    with pytest.raises(StudyError, match=r"brain t2"):
        run(study.with_output(tmp_path, *changes, "strategy.quorum=1"))
    assert not list(tmp_path.rglob("round-*"))
