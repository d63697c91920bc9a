"""A coordinator that asks for updates of a slice or a patient: what it would get is nearly that slice.

Weights after one step on one batch, less the weights before, are that batch's gradient, whatever the exchange is
called; so every answer that holds weights trained here is asked for with as little behind it as a study can choose.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from flwr.app import Message, RecordDict
from hospital import Hospital
from opening import open_study
from tiny import TINY, write_site

from client.data.context import LOCAL
from client.site import SiteSettings
from common.protocol.actions import Action
from common.protocol.records import ARRAYS, CONFIG, Instruction, instruction_record, to_arrays
from common.study.config import compose, to_yaml
from common.training.build import build_classifier_trainer, build_gan_trainer

MODELS = (
    "model=[cgan,wgan_gp,cyclegan]",
    "image.size=64",
    "split.train=10",
    "split.test=2",
    "models.wgan_gp.width=2",
    "models.wgan_gp.critic_width=2",
    "models.wgan_gp.critic_layers=3",
    "models.wgan_gp.min_slices=1",
    "models.cyclegan.domains=[{organ: brain, contrasts: [flair]},{organ: brain, contrasts: [t2]}]",
    "models.cyclegan.width=2",
    "models.cyclegan.blocks=1",
    "models.cyclegan.discriminator_width=2",
    "models.cyclegan.min_slices=1",
    "study.min_cell=1",
)
ONE_STEP = tuple(
    f"{of}federation.{what}=1"
    for of in ("", "models.wgan_gp.", "models.cyclegan.")
    for what in ("rounds", "local_steps")
)
MANY = ("federation.rounds=1", "federation.local_steps=24")
FEW = "fewer patients or slices"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return write_site(tmp_path_factory.mktemp("data"), 12, seed=3)


def site(folder: Path, data: Path, **settings: Any) -> Hospital:
    """A hospital that has decided nothing about updates: the defaults hold."""
    defaults = {
        name: SiteSettings.model_fields[name].default
        for name in ("allowed_exchanges", "min_update_patients", "min_update_slices")
        if name in SiteSettings.model_fields
    }
    return Hospital(folder, path=data, **{**defaults, **settings})


def ask(hospital: Hospital, overrides: list[str], action: Action, phase: str, **about: Any) -> Message:
    """A question with first weights, as a coordinator that goes by no rule would send it."""
    experiment = compose(overrides)
    cpu = torch.device("cpu")
    if action == Action.TRAIN_CLASSIFIER:
        trainer: Any = build_classifier_trainer(experiment, device=cpu, weights=experiment.weights, total_steps=1)
    else:
        model = about.get("model", "cgan")
        trainer = build_gan_trainer(experiment, model, device=cpu, weights=experiment.weights)
    told = {"run": "demo", "phase": phase, "server-round": 1, "experiment": to_yaml(experiment, leaving=True)}
    content = RecordDict({CONFIG: instruction_record(Instruction.model_validate({**told, **about}))})
    if action in (Action.TRAIN_GAN, Action.TRAIN_CLASSIFIER, Action.SYNTHESISE):
        content[ARRAYS] = to_arrays(trainer.shared_arrays())
    return hospital.ask(action, content)


def gan(model: str, *overrides: str) -> list[str]:
    smallest = 1 if model == "cyclegan" else 2
    return [*TINY, *MODELS, *overrides, f"models.{model}.batch_size={smallest}"]


def assert_refused(reply: Message, reason: str) -> None:
    assert reply.has_error()
    assert reason in reply.error.reason
    assert not any(character.isdigit() for character in reply.error.reason.removeprefix("hospital1: "))


def test_gradients_of_a_slice_do_not_leave(tmp_path: Path, data: Path) -> None:
    study = gan("cyclegan", *ONE_STEP, "models.cyclegan.exchange=gradients")
    reply = ask(site(tmp_path, data), study, Action.TRAIN_GAN, "gan/cyclegan", model="cyclegan")
    assert_refused(reply, "does not allow gradients to be exchanged")


def test_a_hospital_that_allows_gradients_still_sends_none_of_a_slice(tmp_path: Path, data: Path) -> None:
    study = gan("cyclegan", *ONE_STEP, "models.cyclegan.exchange=gradients")
    hospital = site(tmp_path, data, allowed_exchanges=["gradients"])
    assert_refused(ask(hospital, study, Action.TRAIN_GAN, "gan/cyclegan", model="cyclegan"), FEW)


@pytest.mark.parametrize("model", ["cgan", "wgan_gp", "cyclegan"])
def test_one_step_on_a_slice_or_two_is_a_gradient_by_another_name(tmp_path: Path, data: Path, model: str) -> None:
    study = gan(model, *ONE_STEP, "models.cyclegan.exchange=average")
    assert_refused(ask(site(tmp_path, data), study, Action.TRAIN_GAN, f"gan/{model}", model=model), FEW)


def test_the_classifier_is_no_way_around_it(tmp_path: Path, data: Path) -> None:
    small = ("classifier.federation.rounds=1", "classifier.federation.local_steps=1", "classifier.batch_size=2")
    study = [*TINY, *MODELS, *small]
    reply = ask(site(tmp_path, data), study, Action.TRAIN_CLASSIFIER, "classifier/real", arm="real")
    assert_refused(reply, FEW)


def test_nor_is_the_sites_own_model_that_may_travel(tmp_path: Path, data: Path) -> None:
    small = ("classifier.federation.rounds=1", "classifier.federation.local_steps=1", "classifier.batch_size=2")
    study = [*TINY, *MODELS, *small]
    hospital = site(tmp_path, data, share_site_model=True, min_cell=1)
    assert not ask(hospital, study, Action.ARMS, "arms").has_error()
    assert_refused(ask(hospital, study, Action.SITE_MODEL, "cross_site/hospital1", arm="real"), FEW)


@pytest.mark.parametrize("few", ["split.train=2", "study.most_patients=2"])
def test_many_steps_on_few_patients_speak_of_these(tmp_path: Path, data: Path, few: str) -> None:
    study = [*TINY, *MODELS, *MANY, few]
    assert_refused(ask(site(tmp_path, data), study, Action.TRAIN_GAN, "gan/cgan", model="cgan"), FEW)


def test_nor_does_a_threshold_single_a_patient_out_among_many(tmp_path: Path, data: Path) -> None:
    """All train on paper; what is drawn are the tumours of the one size that the study asks for."""
    hospital = site(tmp_path, data)
    study = [*TINY, *MODELS, *MANY, "models.wgan_gp.tumour_share=1", "models.wgan_gp.batch_size=4"]
    least = _largest_lesion(hospital, study)
    study = [one for one in study if "min_tumour_pixels" not in one] + [f"organs.brain.min_tumour_pixels={least}"]
    assert_refused(ask(hospital, study, Action.TRAIN_GAN, "gan/wgan_gp", model="wgan_gp"), FEW)


def _largest_lesion(hospital: Hospital, study: list[str]) -> int:
    slices = open_study(hospital.settings, compose(study), LOCAL).data.training
    return int(slices.tumour_pixels.max())


@pytest.mark.parametrize("model", ["cgan", "wgan_gp"])
def test_an_ordinary_round_leaves(tmp_path: Path, data: Path, model: str) -> None:
    study = [*TINY, *MODELS, *MANY, "models.cgan.batch_size=4", "models.wgan_gp.batch_size=4"]
    reply = ask(site(tmp_path, data), study, Action.TRAIN_GAN, f"gan/{model}", model=model)
    assert not reply.has_error(), reply.error.reason
    assert len(reply.content.array_records[ARRAYS])


def test_an_ordinary_round_of_the_classifier_leaves(tmp_path: Path, data: Path) -> None:
    steps = ("classifier.federation.local_steps=20", "classifier.batch_size=8")
    study = [*TINY, *MODELS, *steps]
    reply = ask(site(tmp_path, data), study, Action.TRAIN_CLASSIFIER, "classifier/real", arm="real")
    assert not reply.has_error(), reply.error.reason
