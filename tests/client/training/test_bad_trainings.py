"""What a site trains for itself alone, and what it only tests: values that are no numbers are refused and not kept."""

from pathlib import Path

import pytest
import torch
from bad_steps import spoil
from opening import about, open_study
from tiny import TINY, write_site
from torch import Tensor

from client.data.open_studies import OpenStudy
from client.privacy.roster import begin_roster
from client.site import PrivacySettings, Shares, SiteSettings
from client.study.arms import has_images
from client.study.synthesis import synthesise
from client.study.trial import evaluate_model, run_arms
from client.training.tuning import tuned
from common.errors import RefusalError
from common.protocol.records import Instruction
from common.study.config import compose
from common.training import cgan, classifier
from common.training.build import build_classifier_trainer, build_gan_trainer
from common.training.finite import all_finite

STUDY = compose([*TINY, "study.arms=[real,real_synthetic]", "study.min_cell=2"])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_site(tmp_path_factory.mktemp("data") / "site", 10, seed=1)


@pytest.fixture
def settings(tmp_path: Path, data: Path) -> SiteSettings:
    return SiteSettings(
        name="north",
        reader="brats",
        organ="brain",
        path=data,
        folder=tmp_path / "site",
        cache_dir=data.parent / "cache",
        min_cell=2,
    )


@pytest.fixture
def site(settings: SiteSettings) -> OpenStudy:
    return open_study(settings, STUDY, "run")


def generator() -> dict[str, Tensor]:
    return build_gan_trainer(STUDY, "cgan", device=torch.device("cpu"), weights=STUDY.weights).shared_arrays()


def too_large() -> dict[str, Tensor]:
    """A classifier whose weights are all numbers, and whose answers are none."""
    trainer = build_classifier_trainer(STUDY, device=torch.device("cpu"), weights=STUDY.weights, total_steps=1)
    arrays = {key: torch.full_like(value, 3e38) for key, value in trainer.shared_arrays().items()}
    assert all_finite(arrays.values())
    trainer.load_shared_arrays(arrays)
    assert trainer.predict(torch.rand(2, 1, 32, 32)).isnan().any()
    return arrays


def test_a_generator_that_a_site_makes_its_own_in_a_bad_step_makes_no_images(
    site: OpenStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(cgan.Trainer, monkeypatch)
    for ask in (
        lambda: tuned(site.data, site.work, "cgan", generator(), "tuning"),
        lambda: synthesise(site.data, site.work, "cgan", generator()),
    ):
        with pytest.raises(RefusalError, match=r"nothing of it was kept; a lower learning rate in models\.cgan"):
            ask()
    assert not has_images(site.work, "synthetic")
    assert not (site.work.folder / "results" / "training.jsonl").exists()
    monkeypatch.undo()
    synthesise(site.data, site.work, "cgan", generator())
    assert has_images(site.work, "synthetic")


def test_a_classifier_of_one_site_alone_that_took_a_bad_step_is_neither_tested_nor_kept(
    site: OpenStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    synthesise(site.data, site.work, "cgan", generator())
    spoil(classifier.Trainer, monkeypatch)
    with pytest.raises(RefusalError, match="nothing of it was kept; a lower learning rate in classifier may help"):
        run_arms(site.data, site.work, site.data.test)
    assert not site.work.site_model("real").exists()
    assert not (site.work.folder / "results" / "arms.json").exists()
    monkeypatch.undo()
    told = run_arms(site.data, site.work, site.data.test)
    assert all(one["accuracy"].value is not None for one in told.arms.values())
    assert set(told.arms) == {"real", "real_synthetic"}


@pytest.mark.parametrize("phase", ["federated/real", "cross_site/south"])
def test_a_classifier_that_answers_with_no_number_is_refused_with_the_key_that_helps(
    site: OpenStudy, phase: str
) -> None:
    asked = Instruction(run="run", phase=phase, arm="real" if phase == "federated/real" else "")
    with pytest.raises(RefusalError, match=r"not finite; a lower classifier\.learning_rate may help"):
        evaluate_model(about(site, asked), too_large())
    assert not list((site.work.folder / "results").glob("**/*.json"))


def test_a_guarded_site_answers_it_like_any_other_for_a_refusal_would_speak_of_a_patient(
    settings: SiteSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = PrivacySettings(epsilon=20.0, patients=4, shares=Shares(train=0.4, test=0.6), known=settings.folder / "known")
    begin_roster(settings.model_copy(update={"privacy": own}).privacy_folder(), bytes(32))
    guarded = open_study(settings.model_copy(update={"privacy": own}), STUDY, "run")
    assert guarded.study.guarded
    told = evaluate_model(about(guarded, Instruction(run="run", phase="federated/real", arm="real")), too_large())
    assert told.arms["model"]["accuracy"].value is not None
