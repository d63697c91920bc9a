"""A fourth GAN declares what its export and its privacy need; its three files are all that is added."""

import runpy
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from fourth_gan import FILES
from opening import about, open_study
from private_trainers import cohort
from tiny import TINY, write_site

import common.networks
import common.training
from client.privacy.checks import require_private
from client.privacy.patients import PoissonPatients
from client.privacy.randomness import PrivateRandom
from client.privacy.training import Noise, train_privately
from client.site import SiteSettings
from client.training.rounds import train_gan
from common.errors import ConfigError, PrivacyError
from common.export.card import GeneratorCard
from common.export.model import export_generator, network_weights
from common.export.provenance import Provenance
from common.export.recipe import exported_recipes
from common.protocol.records import Instruction
from common.study.config import compose, from_yaml, to_yaml
from common.study.experiment import Experiment
from common.study.models import model_of
from common.training.build import build_gan_trainer

ADDED = (*TINY, "+models.plain_gan={family: plain_gan, width: 4, batch_size: 4}", "study.generator=plain_gan")


@pytest.fixture(autouse=True)
def registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The new files, where the family's modules are looked for."""
    for package in (common.networks, common.training):
        name = package.__name__.rpartition(".")[2]
        folder = tmp_path / "added" / name
        folder.mkdir(parents=True)
        (folder / "plain_gan.py").write_text(FILES[f"common/{name}/plain_gan.py"].lstrip())
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
    yield
    for package in (common.networks, common.training):
        sys.modules.pop(f"{package.__name__}.plain_gan", None)


def trainer_of(study: Experiment) -> Any:
    return build_gan_trainer(study, "plain_gan", device=torch.device("cpu"), weights=study.weights)


def test_its_keys_are_resolved_checked_and_corrected() -> None:
    study = compose(ADDED)
    assert study.models["plain_gan"]["noise_size"] == 16
    assert model_of(from_yaml(to_yaml(study)), "plain_gan") == model_of(study, "plain_gan")
    with pytest.raises(ConfigError, match=r"models\.plain_gan\.memory=10: must be from 0 to 9"):
        compose([*ADDED, "models.plain_gan.memory=10"])
    with pytest.raises(ConfigError, match=r"did you mean models\.plain_gan\.memory\?"):
        compose([*ADDED, "models.plain_gan.memroy=1"])


def test_a_site_trains_a_round_of_it(tmp_path: Path) -> None:
    data = write_site(tmp_path / "data", 10, seed=1)
    settings = SiteSettings(
        name="north", reader="brats", organ="brain", path=data, folder=tmp_path, cache_dir=tmp_path / "cache"
    )
    study = compose(ADDED)
    before = trainer_of(study).shared_arrays()
    asked = {"run": "run", "phase": "gan/plain_gan", "server-round": 1, "counted": 0, "model": "plain_gan"}
    update = train_gan(about(open_study(settings, study, "run"), Instruction.model_validate(asked)), before)
    assert set(update.arrays) == set(before)
    assert all(torch.isfinite(value).all() for value in update.arrays.values())
    assert not torch.equal(update.arrays["discriminator.last.weight"], before["discriminator.last.weight"])
    assert not torch.equal(update.arrays["generator_ema.base.weight"], before["generator_ema.base.weight"])


def test_its_export_draws_the_slices_that_it_draws_itself(tmp_path: Path) -> None:
    trainer = trainer_of(compose(ADDED))
    slices = cohort([3, 7, 2, 5])
    trainer.train(trainer.batches(slices, 3, seed=1))
    declared = trainer.recipes(trainer.config, size=32, channels=1)
    ((name, recipe),) = exported_recipes("plain_gan", declared, trainer.config).items()
    assert name == "generator_ema"
    card = GeneratorCard(
        provenance=Provenance(model="plain_gan", family="plain_gan", run="demo", round=1, seed=1, preset="demo"),
        organs={"brain": ("flair",)},
        sites=2,
        rounds=1,
        size=32,
        task=recipe.task,
        inputs=recipe.inputs,
        output=recipe.output,
        licence="CC-BY-4.0",
    )
    export_generator(tmp_path / "export", network_weights(trainer.shared_arrays(), name), recipe, card)
    loaded = runpy.run_path(str(tmp_path / "export" / "load_generator.py"))["load_generator"]()
    noise = torch.randn(6, 16, generator=torch.Generator().manual_seed(1))
    tumour = torch.arange(6) < 3
    with torch.no_grad():
        assert torch.equal(loaded(noise, tumour), trainer.averaged()(noise, tumour))
    assert "| noise | (B, 16) | standard normal |" in (tmp_path / "export" / "MODEL_CARD.md").read_text()


def test_it_is_private_unless_a_key_has_a_value_that_it_declares_is_not() -> None:
    private = [*ADDED, "privacy=patient_dp", "study.arms=[real,real_synthetic,synthetic]"]
    study = compose(private)
    trainer, slices, charged = trainer_of(study), cohort([3, 7, 2, 5]), []
    noise = Noise(sigma=1.0, max_grad_norm=1.0, rate=0.5, expected=2.0, slices=2)
    patients = PoissonPatients([slices], rate=0.5, slices=2, make=trainer.patient_examples, random=PrivateRandom())
    train_privately(trainer, patients, 2, noise, condition=slices.condition(), charge=lambda *one: charged.append(one))
    assert charged == [("discriminator", 2)]

    trainer.config = replace(trainer.config, memory=3)
    with pytest.raises(PrivacyError, match="memory=3: it shows patients of earlier steps; set memory=0"):
        require_private(trainer)
    with pytest.raises(ConfigError, match=r"models\.plain_gan\.memory=3: must be 0 with privacy=patient_dp"):
        compose([*private, "models.plain_gan.memory=3"])
