"""A site promises what it can do: each trainer says itself whether it could draw a batch of the site's slices."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from opening import about, open_study
from PIL import Image
from tiny import TINY, write_site

from client.data.open_studies import OpenStudy
from client.hello.introduction import examples_of, introduce
from client.hello.notes import Notes
from client.hello.tasks import possible_tasks
from client.site import SiteSettings
from client.study.arms import possible_arms
from client.study.synthesis import synthesise
from client.training.rounds import train_gan
from common.errors import DataError
from common.protocol.records import Instruction
from common.study.config import compose
from common.study.trials import trials_of
from common.training.build import build_gan_trainer

WGAN = (
    "models.wgan_gp.width=4",
    "models.wgan_gp.critic_width=4",
    "models.wgan_gp.batch_size=4",
    "models.wgan_gp.n_critic=1",
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_site(tmp_path_factory.mktemp("data") / "site", 10, seed=1, contrasts=("flair", "t1", "t2"))


def session_at(folder: Path, data: Path, *overrides: str, **settings: Any) -> OpenStudy:
    given = {"name": "north", "reader": "brats", "organ": "brain", "path": data, "contrasts": ["flair", "t1", "t2"]}
    site = SiteSettings(**{**given, "folder": folder / "site", "cache_dir": data.parent / "cache", **settings})
    return open_study(site, compose([*TINY, *overrides]), "run")


def train(session: OpenStudy, model: str) -> None:
    experiment = session.study.experiment
    weights = build_gan_trainer(experiment, model, device=torch.device("cpu"), weights=experiment.weights)
    asked = {"run": "run", "phase": f"gan/{model}", "server-round": 1, "model": model}
    train_gan(about(session, Instruction.model_validate(asked)), weights.shared_arrays())


@pytest.mark.parametrize("model", ["cgan", "wgan_gp", "translation", "cyclegan"])
@pytest.mark.parametrize("enough", [True, False])
def test_a_gan_is_promised_where_a_round_of_it_can_be_trained_and_nowhere_else(
    tmp_path: Path, data: Path, model: str, enough: bool
) -> None:
    least = 9 if enough else 50  # four training patients have nine slices with a tumour and forty slices in all
    small = (f"models.{model}.width=4", f"models.{model}.min_slices={least}")
    more = {
        "cgan": (),
        "wgan_gp": WGAN[1:],
        "translation": ("models.translation.depth=2", "models.translation.perceptual_weight=0"),
        "cyclegan": ("models.cyclegan.blocks=1", "models.cyclegan.discriminator_width=4"),
    }[model]
    chosen = "model=[cgan]" if model == "cgan" else f"model=[cgan,{model}]"
    session = session_at(tmp_path, data, chosen, *small, *more)
    assert len(session.data.training.tumour_positions()) == 9
    notes = Notes()
    tasks = possible_tasks(session.data, notes)
    assert (f"gan/{model}" in tasks) == enough
    if enough:
        train(session, model)
        return
    assert notes.declined == {
        f"gan/{model}": "its training slices are too few for it, with a tumour or without one "
        f"(models.{model}.min_slices)"
    }
    with pytest.raises(DataError, match="needed"):
        train(session, model)


def test_a_gan_is_not_promised_where_no_mask_fits_into_the_healthy_slices(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = session_at(tmp_path, data)
    for patient in session.data.training.patients:
        object.__setattr__(patient, "organ", np.zeros_like(patient.labels))
    assert "gan/cgan" not in possible_tasks(session.data, Notes())
    with pytest.raises(DataError, match="fit"):
        train(session, "cgan")


def test_tumours_below_the_studys_size_are_no_question_of_masks(tmp_path: Path, data: Path) -> None:
    notes = Notes()
    assert "gan/cgan" not in possible_tasks(
        session_at(tmp_path, data, "organs.brain.min_tumour_pixels=1024").data, notes
    )
    assert notes.declined["gan/cgan"] == "its training patients do not hold both classes"


@pytest.mark.parametrize("without", ["refuse", "allow"])
def test_a_site_that_promises_blindly_promises_whatever_its_patients_show(
    tmp_path: Path, data: Path, without: str
) -> None:
    budget = {"epsilon": 20.0, "patients": 4, "shares": {"train": 0.4, "test": 0.6}, "without": without}
    session = session_at(
        tmp_path, data, "privacy=patient_dp", "models.cgan.min_slices=1000", privacy=budget, min_update_patients=1
    )
    notes = Notes()
    assert "gan/cgan" in possible_tasks(session.data, notes)
    assert notes.declined == {}


def test_a_site_without_masks_makes_synthetic_images_and_says_that_it_makes_no_others(tmp_path: Path) -> None:
    random, data = np.random.default_rng(0), tmp_path / "data"
    for kind in ("tumour", "healthy"):
        (data / kind).mkdir(parents=True)
        for number in range(12):
            image = np.zeros((48, 40), np.uint8)
            image[4:-4, 4:-4] = random.integers(90, 220, (40, 32))
            Image.fromarray(image).save(data / kind / f"{kind}{number}.png")
    session = session_at(
        tmp_path,
        data,
        "model=[cgan,wgan_gp]",
        *WGAN,
        "study.generator=wgan_gp",
        "study.arms=[real,real_synthetic,copy_paste,blob]",
        "split.train=16",
        "split.test=8",
        reader="image_folder",
        contrasts=None,
        options={"tumour_classes": ["tumour"]},
    )
    notes = Notes()
    assert possible_tasks(session.data, notes) == ["gan/wgan_gp", "classifier", "evaluate"]
    why = "it has no tumours with masks beside slices without a tumour"
    assert f"trains the classifier on images without masks only: {why}" in notes
    assert notes.declined == {"gan/cgan": why, "arm/copy_paste": why, "arm/blob": why}
    experiment = session.study.experiment
    generator = build_gan_trainer(experiment, "wgan_gp", device=torch.device("cpu"), weights=experiment.weights)
    synthesise(session.data, session.work, "wgan_gp", generator.shared_arrays())
    assert possible_arms(session.study, session.work) == ["real", "real_synthetic"]


@pytest.mark.parametrize(
    ("settings", "examples", "unit"),
    [
        ({}, 1, None),
        ({"declare_counts": True}, 40, "slices"),
        ({"declare_counts": True, "roles": ["evaluate"]}, 1, None),
        ({"declare_counts": True, "privacy": {"epsilon": 8.0, "patients": 120, "without": "allow"}}, 120, "patients"),
        ({"privacy": {"epsilon": 8.0, "patients": 120, "without": "allow"}}, 1, None),
    ],
)
def test_a_site_says_what_its_number_of_examples_is_a_number_of(
    tmp_path: Path, data: Path, settings: dict[str, Any], examples: int, unit: str | None
) -> None:
    session = session_at(tmp_path, data, **settings)
    hello = introduce(session.data, session.work)
    assert (hello.examples, hello.examples_of) == (examples, unit)
    assert examples_of(session.study) == unit


@pytest.mark.parametrize(
    ("overrides", "left_out"),
    [
        (("study.folds=2", "models.cgan.min_slices=7"), True),  # nine slices with a tumour, and half of them in a fold
        (("study.folds=2",), False),
        (("study.curve=[2]", "models.cgan.min_slices=7"), True),
        (("models.cgan.min_slices=7",), False),
    ],
)
def test_a_site_says_beforehand_that_it_drops_out_of_a_trial(
    tmp_path: Path, data: Path, overrides: tuple[str, ...], left_out: bool
) -> None:
    session = session_at(tmp_path, data, "study.min_cell=2", *overrides)
    notes = Notes()
    assert {"gan/cgan", "classifier"} <= set(possible_tasks(session.data, notes))
    assert any("is left out of some of the study's trials" in note for note in notes) == left_out
    assert notes.declined == {}
    trials = [trial for trial in trials_of(session.study.experiment) if trial.trains_generator]
    fails = [trial for trial in trials if not trains(session.within(trial))]
    assert bool(fails) == left_out


def trains(session: OpenStudy) -> bool:
    """Whether a round of the GAN and of the classifier can be trained."""
    try:
        train(session, "cgan")
        classes = set(session.data.training.tumour_class().tolist())
    except DataError:
        return False
    return classes == {False, True}
