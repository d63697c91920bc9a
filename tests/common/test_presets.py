"""The presets as they are resolved: the source study's table, entry by entry, and what each of them must hold."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch

from common.study.config import compose, contrasts_by_organ
from common.study.experiment import Experiment
from common.study.models import model_of
from common.training.families import trainer_module

GANS = ("cgan", "cyclegan", "wgan_gp")
CHOICES = ("[cgan]", "[wgan_gp]", "[cyclegan]", "[translation]", "[cgan,wgan_gp,cyclegan,translation]")
EPOCHS = {"cgan": 200, "cyclegan": 180, "wgan_gp": 220}

TABLE: dict[str, dict[str, Any]] = {
    # U-Net, PatchGAN; adversarial + L1 + perceptual (VGG19); Adam 2e-4.
    "cgan": {
        "family": "cgan",
        "width": 64,
        "depth": 8,
        "discriminator_width": 64,
        "discriminator_layers": 3,
        "adversarial": "vanilla",
        "adversarial_weight": 1.0,
        "perceptual": "vgg19",
        "learning_rate": 2e-4,
        "discriminator_learning_rate": 2e-4,
        "crop": 0,
        "gradient_penalty": 10.0,
    },
    # Two ResNet-9, PatchGAN; adversarial + cycle consistency; Adam 2e-4.
    "cyclegan": {
        "family": "cyclegan",
        "width": 64,
        "blocks": 9,
        "downsamplings": 2,
        "discriminator_width": 64,
        "discriminator_layers": 3,
        "adversarial": "lsgan",
        "cycle_weight": 10.0,
        "identity_weight": 0.0,
        "learning_rate": 2e-4,
        "discriminator_learning_rate": 2e-4,
        "crop": 0,
        "exchange": "proxies",
    },
    # Five convolution layers (the network has no other number), patch critic; Wasserstein + penalty; RMSProp 5e-5.
    "wgan_gp": {
        "family": "wgan_gp",
        "width": 64,
        "critic_width": 64,
        "gradient_penalty": 10.0,
        "drift": 0.0,
        "n_critic": 5,
        "optimiser": "rmsprop",
        "learning_rate": 5e-5,
        "critic_learning_rate": 5e-5,
    },
}


def paper() -> Experiment:
    return compose(["preset=paper", "model=[cgan,wgan_gp,cyclegan]"])


@pytest.mark.parametrize("name", GANS)
def test_paper_has_the_source_studys_table(name: str) -> None:
    model = model_of(paper(), name)
    wanted: Mapping[str, Any] = dict(TABLE[name])
    found = {key: model.family if key == "family" else getattr(model.config, key) for key in wanted}
    assert found == wanted


@pytest.mark.parametrize("name", GANS)
def test_paper_trains_as_many_epochs_with_its_batch(name: str) -> None:
    model = model_of(paper(), name)
    assert (model.federation.rounds, model.config.batch_size) == (EPOCHS[name], 8)
    assert model.federation.local_steps == 0  # a pass over the data: rounds are epochs


@pytest.mark.parametrize("name", [*GANS, "translation"])
def test_paper_has_none_of_the_later_aids(name: str) -> None:
    config = model_of(compose(["preset=paper", f"model=[{name}]"]), name).config
    off = {"decay_steps": 0, "ema": 0.0, "diffaugment": "", "spectral_norm": False, "precision": "fp32"}
    assert {key: getattr(config, key) for key in off if hasattr(config, key)} == {
        key: value for key, value in off.items() if hasattr(config, key)
    }


def test_paper_has_its_l1_and_perceptual_terms() -> None:
    config = model_of(paper(), "cgan").config
    assert config.l1_weight > 0
    assert config.perceptual_weight > 0


def test_paper_has_its_data_and_classifier() -> None:
    experiment = paper()
    assert experiment.image.size == 256
    assert (experiment.split.train, experiment.split.validation, experiment.split.test) == (0.7, 0.2, 0.1)
    assert (experiment.classifier.network, experiment.classifier.pretrained) == ("resnet50", True)
    assert experiment.evaluation.features == "inception_v3"


def test_an_epoch_cannot_be_meant_where_gradients_are_exchanged() -> None:
    model = model_of(paper(), "cyclegan")
    assert model.federation.local_steps > 0 or model.config.exchange != "gradients"


@pytest.mark.parametrize("preset", ["demo", "modern", "paper"])
@pytest.mark.parametrize("choice", CHOICES)
def test_every_preset_goes_with_every_choice_of_models(preset: str, choice: str) -> None:
    experiment = compose([f"preset={preset}", f"model={choice}"])
    assert list(experiment.models) == choice.strip("[]").split(",")
    for name in experiment.models:
        model_of(experiment, name)


@pytest.mark.parametrize("preset", ["demo", "modern"])
def test_demo_and_modern_train_all_three_gans(preset: str) -> None:
    assert set(compose([f"preset={preset}"]).models) == set(GANS)


@pytest.mark.parametrize("preset", ["demo", "modern"])
@pytest.mark.parametrize("name", [*GANS, "translation"])
def test_what_is_set_can_work_together_and_rates_end_with_the_last_step(preset: str, name: str) -> None:
    experiment = compose([f"preset={preset}", f"model=[{name}]"])
    model = model_of(experiment, name)
    trainer_module(model.family).Trainer(
        model.config,
        image=experiment.image,
        organs=contrasts_by_organ(experiment),
        device=torch.device("cpu"),
        weights=experiment.weights,
        seed=1,
    )
    loop = model.federation
    assert model.config.decay_steps in (0, loop.rounds * loop.local_steps)


def test_modern_is_scored_on_a_larger_reference_set() -> None:
    experiment = compose(["preset=modern"])
    assert experiment.cohort.reference >= 42
    assert min(experiment.evaluation.frechet_images, experiment.evaluation.paired_images) >= 1000
