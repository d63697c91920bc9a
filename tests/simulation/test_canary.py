"""The canary of the whole way from message to answer: silent where it is sound, loud where a fault is put back."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny import TINY

import client.app
from client.data.request import Request
from client.data.site_data import SiteData
from client.data.work import WorkFolder
from client.privacy import admission, gradients, slices
from client.privacy.roster import Split
from client.study.arms import keep_images, made_images, make_images
from client.training import rounds
from common.imaging.split import split_patients
from common.study.config import compose
from common.study.experiment import Experiment
from simulation import canary as module
from simulation.canary import canary

STUDY = compose([*TINY, "privacy=patient_dp"])
SMALL = ("image.size=32", "classifier.width=4", "study.arms=[real]")
TRANSLATING = (
    "models.cyclegan.width=4",
    "models.cyclegan.blocks=1",
    "models.cyclegan.discriminator_width=4",
    "models.wgan_gp.width=4",
    "models.wgan_gp.critic_width=4",
    "models.wgan_gp.critic_layers=3",
)


@pytest.fixture(autouse=True)
def _one_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the time: by the loop alone, unless a test is about both."""
    ways = (
        [gradients.GradSampleMode.LOOP, gradients.GradSampleMode.VMAP]
        if "both_ways" in request.keywords
        else [gradients.GradSampleMode.LOOP]
    )
    monkeypatch.setattr(module, "GradSampleMode", ways)


def found(study: Experiment = STUDY) -> str:
    result = canary(study)
    assert not result.holds
    return "; ".join(result.findings)


@pytest.mark.both_ways
def test_nothing_depends_on_a_patient_beyond_the_bound_where_all_is_as_shipped() -> None:
    result = canary(STUDY)
    assert result.findings == []
    assert result.steps == 2 * (2 * 3 + 3 * 3)
    assert 0.99 < result.most <= 1.0 + 1e-3  # it does see the patient


def test_the_other_models_too() -> None:
    study = compose(["preset=demo", "model=[wgan_gp,cyclegan]", "privacy=patient_dp", *SMALL, *TRANSLATING])
    result = canary(study)
    assert result.findings == []
    assert result.steps >= 3 * (1 + 2 + 1)


def test_gradients_that_leave_before_the_private_check_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault 1: an exchange that the schema defaults to, and a branch to it before anything private is asked."""
    study = compose(
        ["preset=demo", "model=[wgan_gp,cyclegan]", *SMALL, *TRANSLATING, "models.cyclegan.exchange=gradients"]
    )
    private = compose(["preset=demo", "model=[wgan_gp,cyclegan]", "privacy=patient_dp", *SMALL, *TRANSLATING])
    study = replace(study, privacy=private.privacy, study=private.study)
    monkeypatch.setattr("common.study.config.check_private_model", lambda name, config: None)

    def branch_first(asked: Request, arrays: Any) -> Any:
        study, name = asked.study, asked.instruction.model
        trainer = rounds.build_gan_trainer(study.experiment, name, device=study.device, weights=study.weights)
        if trainer.exchange is not rounds.Exchange.GRADIENTS:
            return original(asked, arrays)
        trainer.load_shared_arrays(arrays)
        return rounds._exchange_gradients(asked, trainer, slices.kept_here(asked.data, name), 0.0)

    original = rounds.train_gan
    monkeypatch.setattr(rounds, "train_gan", branch_first)
    monkeypatch.setattr(client.app, "admitted", lambda asked, *_: nullcontext(asked))
    monkeypatch.setattr(client.app, "require_declared_answer", lambda *_: None)
    monkeypatch.setattr("client.privacy.plan.require_private", lambda trainer: trainer, raising=False)
    assert "gan/cyclegan: arrays that depend on the patient were sent and not paid for" in found(study)


@pytest.mark.both_ways
def test_dropout_that_patients_share_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault 5: under vmap a patient's mask followed from its place among the others."""
    real = gradients.vmap

    @contextmanager
    def nothing(*_: Any) -> Iterator[None]:
        yield

    monkeypatch.setattr(gradients, "_chance", nothing)
    monkeypatch.setattr(gradients, "_no_shared_chance", nothing)
    monkeypatch.setattr(
        gradients, "vmap", lambda f, in_dims, randomness: real(f, in_dims=in_dims, randomness="different")
    )
    told = found()
    assert "classifier/real: one patient moves a step by" in told
    assert "(vmap, patients known)" in told


def test_images_that_name_no_patients_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault 6: each image counted as one, and a person with three of them was bounded three times."""
    for place in (admission, slices):
        monkeypatch.setattr(place, "require_known_patients", lambda data: None)
    assert "patients not named" in found()


def test_made_slices_that_are_drawn_over_all_patients_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault 7: hosts drawn over everybody, and slices from noise dealt out by the number of patients."""

    def over_all(data: SiteData, work: WorkFolder, trainer: Any, seed: int) -> None:
        make_images(data, work, trainer, seed)
        made, training = made_images(work, "synthetic"), slices.kept_here(data)
        dealt = torch.arange(len(made)) % len(training.patients)
        owner = torch.where(made.origin >= 0, torch.from_numpy(training.owner)[made.origin.clamp(min=0)], dealt)
        keep_images(data, work, "synthetic", made, owner=owner)

    monkeypatch.setattr("client.study.synthesis.make_private_images", over_all)
    assert "classifier/synthetic: one patient moves a step by" in found()


def test_a_split_by_rank_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault 4, its part in training: one patient's absence moved others into training or out of it."""

    def by_rank(settings: Any, patients: Any, study: Any, trial: Any, *, for_good: bool) -> Split:
        return split_patients(patients, replace(STUDY.split, train=0.5, validation=0.0, test=0.5))

    monkeypatch.setattr("client.data.site_data.roster_split", by_rank)
    assert "moves a step by" in found()


def test_losses_that_are_told_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    real = rounds._finished

    def telling(asked: Request, *given: Any) -> Any:
        update = real(asked, *given)
        total = sum(float(value.double().sum()) for value in update.arrays.values())
        return replace(update, losses={"loss": total * len(asked.data.split.train)})

    monkeypatch.setattr(rounds, "_finished", telling)
    monkeypatch.setattr(client.app, "require_declared_answer", lambda *_: None)
    assert "the answer itself depends on the patient" in found()
