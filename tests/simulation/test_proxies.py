"""A CycleGAN trained by proxies: each side releases synthetic slices once, and no site holds both sides."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from flwr.app import RecordDict
from opening import about, open_study
from tiny import TINY, TinyStudy, write_site

from client.data.open_studies import OpenStudy
from client.site import load_site, save_site
from client.training import proxies
from common.errors import ConfigError, OncofedError, RefusalError, StudyError
from common.protocol.records import ARRAYS, IMAGES, Instruction, UnacceptableError, to_images
from common.results.study import Results
from common.study.config import from_yaml
from common.system.array_files import read_tensors
from common.system.files import read_json, write_json
from simulation.run import run

SLICES = 6
PROXIES = (
    "model=[wgan_gp,cyclegan]",
    "study.arms=[real]",
    "classifier.federation.rounds=1",
    "classifier.federation.local_steps=1",
    "models.wgan_gp.federation.rounds=1",
    "models.wgan_gp.width=4",
    "models.wgan_gp.critic_width=4",
    "models.wgan_gp.batch_size=4",
    "models.wgan_gp.n_critic=1",
    "models.wgan_gp.federation.local_steps=2",
    "models.wgan_gp.domains=[{organ: brain, contrasts: [t1]}, {organ: brain, contrasts: [t2]}]",
    "models.cyclegan.exchange=proxies",
    f"models.cyclegan.proxy_slices={SLICES}",
    "models.cyclegan.width=4",
    "models.cyclegan.federation.local_steps=2",
    "models.cyclegan.federation.rounds=2",
    "models.cyclegan.blocks=1",
    "models.cyclegan.discriminator_width=4",
    "models.cyclegan.discriminator_layers=1",
    "models.cyclegan.batch_size=2",
    "evaluation.paired_images=4",
    "evaluation.frechet_images=4",
)
OWN = {"hospital1": "t1", "hospital2": "t2", "hospital3": "t2"}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> TinyStudy:
    root = tmp_path_factory.mktemp("proxies")
    overrides = [item for item in (*TINY, *PROXIES) if not item.startswith("models.cgan")]
    for number, (site, contrast) in enumerate(OWN.items(), start=1):
        folder = write_site(root / site, 10, seed=number, contrasts=("flair", contrast))
        overrides += [f"site.{site}.path={folder}", f"site.{site}.contrasts=[flair,{contrast}]"]
    overrides.append("~site.external")
    for number, part in enumerate(("pretraining", "selection", "final"), start=10):
        write_site(root / "reference" / part, 4, seed=number, contrasts=("flair", "t1", "t2"))
    overrides.append(f"reference.brain.path={root / 'reference'}")
    return TinyStudy(root, tuple(overrides))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, study: TinyStudy) -> Path:
    return run(study.with_output(tmp_path_factory.mktemp("finished")))


def released(run_dir: Path) -> dict[str, torch.Tensor]:
    return read_tensors(run_dir / "checkpoints" / "proxies" / "cyclegan" / "released.safetensors")


def taken(run_dir: Path, site: str) -> torch.Tensor:
    (file,) = (run_dir / "sites" / site / "state").rglob("taken-cyclegan.safetensors")
    return read_tensors(file)[IMAGES]


def at(run_dir: Path, site: str, **settings: object) -> OpenStudy:
    """The session of a site of a finished run, with other settings."""
    experiment = from_yaml((run_dir / "config.yaml").read_text())
    file = run_dir / "sites" / site / "site.yaml"
    return open_study(load_site(file).model_copy(update=settings), experiment, run_dir.name)


def before_the_rounds(finished: Path, folder: Path, forgotten: str) -> Path:
    """A copy of the run as it was before the first round of the CycleGAN, at sites without ``forgotten`` files."""
    copy = folder / finished.name
    shutil.copytree(finished, copy)
    for started in [*copy.rglob("gan/cyclegan"), copy / "reference" / "cyclegan"]:
        shutil.rmtree(started)
    for site in OWN:
        for file in (copy / "sites" / site / "state").rglob(f"proxies/{forgotten}.safetensors"):
            file.unlink()
    return copy


def generator_of(run_dir: Path) -> dict[str, torch.Tensor]:
    return read_tensors(run_dir / "checkpoints" / "gan" / "wgan_gp" / "round-00001.safetensors")


def test_every_site_releases_its_own_side_and_trains_beside_the_other(finished: Path) -> None:
    results = Results.model_validate_json((finished / "results.json").read_text())
    cyclegan = results.gans["cyclegan"]
    assert cyclegan.exchange == "proxies"
    assert cyclegan.released == dict.fromkeys(OWN, SLICES)
    assert results.gans["wgan_gp"].released == {}
    assert [r.contributors for r in cyclegan.rounds] == [sorted(OWN)] * 2
    assert all(np.isfinite(r.losses["proxy_adversarial"]) for r in cyclegan.rounds)
    images = released(finished)
    assert torch.equal(taken(finished, "hospital1"), torch.cat([images["hospital2"], images["hospital3"]]))
    for site in ("hospital2", "hospital3"):
        assert torch.equal(taken(finished, site), images["hospital1"])


def test_what_was_released_are_different_slices_of_the_generator_and_none_of_the_site(finished: Path) -> None:
    for site, images in released(finished).items():
        session = at(finished, site)
        real = session.data.training_for("cyclegan").all().images
        assert images.shape == (SLICES, *real.shape[1:])
        distances = torch.cdist(images.flatten(1), real.flatten(1)) / images[0].numel() ** 0.5
        assert distances.min() > 0.02
        assert torch.pdist(images.flatten(1)).min() > 0
    assert not torch.equal(released(finished)["hospital2"], released(finished)["hospital3"])


def test_a_site_that_is_asked_again_sends_what_it_sent_whatever_generator_comes(finished: Path) -> None:
    other = {name: value + 0.5 for name, value in generator_of(finished).items()}
    session = at(finished, "hospital1")
    again = proxies.release(session.study, session.work, "cyclegan", other)
    assert torch.equal(again, released(finished)["hospital1"])


def test_a_site_whose_file_does_not_allow_it_releases_nothing(finished: Path, tmp_path: Path) -> None:
    session = at(finished, "hospital1", may_release_synthetic=False, folder=tmp_path)
    with pytest.raises(RefusalError, match="does not release synthetic slices"):
        proxies.release(session.study, session.work, "cyclegan", generator_of(finished))
    assert list(tmp_path.iterdir()) == []


def test_a_site_releases_for_no_model_that_needs_nothing(finished: Path, tmp_path: Path) -> None:
    session = at(finished, "hospital1", folder=tmp_path)
    with pytest.raises(RefusalError, match="wgan_gp does not train beside synthetic slices"):
        proxies.release(session.study, session.work, "wgan_gp", generator_of(finished))


def test_a_generator_gone_wrong_makes_nothing_that_leaves(finished: Path, tmp_path: Path) -> None:
    session = at(finished, "hospital1", folder=tmp_path)
    broken = {name: torch.full_like(value, float("nan")) for name, value in generator_of(finished).items()}
    with pytest.raises(UnacceptableError, match="not finite"):
        proxies.release(session.study, session.work, "cyclegan", broken)
    assert len(proxies.release(session.study, session.work, "cyclegan", generator_of(finished))) == SLICES


def test_a_site_keeps_no_slices_that_it_cannot_train_beside(finished: Path, tmp_path: Path) -> None:
    session = at(finished, "hospital1", folder=tmp_path)
    for images in (torch.rand(SLICES, 2, 32, 32), torch.rand(SLICES, 1, 64, 64), torch.rand(SLICES - 1, 1, 32, 32)):
        with pytest.raises(UnacceptableError):
            proxies.take(session.study, session.work, "cyclegan", RecordDict({ARRAYS: to_images(images)}))
    assert list(tmp_path.iterdir()) == []


def test_training_without_the_other_sides_slices_is_refused(finished: Path, tmp_path: Path) -> None:
    from client.training.rounds import train_gan

    instruction = Instruction.model_validate(
        {"run": finished.name, "phase": "gan/cyclegan", "model": "cyclegan", "server-round": 1}
    )
    with pytest.raises(RefusalError, match="was not given the synthetic slices"):
        train_gan(about(at(finished, "hospital1", folder=tmp_path), instruction), {})


def test_a_run_that_was_stopped_between_release_and_rounds_ends_like_one_that_was_not(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two sites were not reached before; what was released is not asked for again."""

    def refuses(*_: object) -> None:
        raise AssertionError("released a second time")

    folder = before_the_rounds(finished, tmp_path, "taken-*")
    write_json(folder / "checkpoints" / "proxies" / "cyclegan" / "result.json", [])
    monkeypatch.setattr("server.proxies._release", refuses)
    run([f"resume={folder}"])
    assert read_json(folder / "checkpoints" / "proxies" / "cyclegan" / "result.json") == sorted(OWN)
    file = Path("checkpoints/gan/cyclegan/round-00002.safetensors")
    ours, theirs = read_tensors(folder / file), read_tensors(finished / file)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    # Once all have theirs, neither question is asked again.
    monkeypatch.setattr("server.proxies._hand_out", refuses)
    run([f"resume={folder}"])


def test_a_site_that_keeps_its_slices_trains_all_the_same_while_its_side_has_some(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = before_the_rounds(finished, tmp_path, "*")
    shutil.rmtree(folder / "checkpoints" / "proxies")
    _forbid(monkeypatch, "hospital2")
    run([f"resume={folder}"])
    gan = Results.model_validate_json((folder / "results.json").read_text()).gans["cyclegan"]
    assert gan.released == {"hospital1": SLICES, "hospital3": SLICES}
    assert [r.contributors for r in gan.rounds] == [sorted(OWN)] * 2
    assert "it does not release synthetic slices" in (folder / "log.jsonl").read_text()
    assert torch.equal(taken(folder, "hospital1"), released(finished)["hospital3"])


def test_a_side_that_may_release_nothing_is_refused_before_any_training(
    study: TinyStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _forbid(monkeypatch, "hospital1")
    with pytest.raises(StudyError, match=r"no site may release synthetic slices of brain t1 \(hospital1\)"):
        run(study.with_output(tmp_path))
    assert not list(tmp_path.rglob("round-*"))


@pytest.mark.parametrize(
    ("change", "kind", "told"),
    [
        ("model=[cyclegan,wgan_gp]", ConfigError, "write model=[wgan_gp,cyclegan]"),
        ("model=[cyclegan]", ConfigError, "the study has no GAN of that name"),
        ("models.cyclegan.proxy_model=cyclegan", ConfigError, "must be trained before"),
        ("model=[cgan,cyclegan] models.cyclegan.proxy_model=cgan", ConfigError, "does not make whole slices"),
        ("models.cyclegan.proxy_slices=1", ConfigError, "models.cyclegan.proxy_slices=1: must be from 2 to"),
        (
            "models.wgan_gp.domains=[{organ: brain, contrasts: [t2]}] strategy.quorum=1",
            StudyError,
            "it does not train on brain t1, so there would be no slices of it to release; write "
            "models.wgan_gp.domains=[{organ: brain, contrasts: [t1]}, {organ: brain, contrasts: [t2]}]",
        ),
    ],
)
def test_proxies_that_nothing_could_make_are_refused_before_any_training(
    study: TinyStudy, tmp_path: Path, change: str, kind: type[OncofedError], told: str
) -> None:
    changes = re.split(r" (?=\w[\w.]*=)", change)
    models = "wgan_gp" if any("wgan_gp" in item for item in changes) or "model=" not in change else "nothing"
    kept = [item for item in study.overrides if models != "nothing" or "models.wgan_gp" not in item]
    tiny = TinyStudy(study.root, tuple(kept))
    with pytest.raises(kind, match=re.escape(told)):
        run(tiny.with_output(tmp_path, *changes))
    assert not list(tmp_path.rglob("round-*"))


def _forbid(monkeypatch: pytest.MonkeyPatch, site: str) -> None:
    """Lets one simulated site be like a hospital that did not allow it."""

    def save(settings: object, file: Path) -> None:
        assert hasattr(settings, "model_copy")
        allowed = file.parent.name != site
        save_site(settings.model_copy(update={"may_release_synthetic": allowed}), file)

    monkeypatch.setattr("simulation.sites.save_site", save)
