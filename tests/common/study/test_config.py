"""The schema of an experiment: what it accepts, refuses, and keeps at home."""

from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from common.errors import ConfigError
from common.study.config import compose, from_yaml, to_yaml
from common.study.experiment import LOCAL_SECTIONS, ClassifierConfig
from common.study.models import model_of
from common.training import cgan
from common.training.families import trainer_module

MODELS = Path(__file__).parents[3] / "configs" / "model"


def test_a_resolved_experiment_comes_back_from_its_yaml() -> None:
    experiment = compose(["preset=demo", "seed=3", "site.hospital1.path=/data/x"])
    assert from_yaml(to_yaml(experiment)) == experiment


def test_what_is_sent_to_sites_holds_no_local_section() -> None:
    experiment = compose(["site.hospital1.path=/data/secret", "simulation.cache_dir=/data/cache"])
    text = to_yaml(experiment, leaving=True)
    assert "/data" not in text
    assert not any(f"\n{section}:" in text for section in LOCAL_SECTIONS)
    assert from_yaml(text).federation == experiment.federation


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("colour=red", "colour"),
        ("+colour=red", "colour"),
        ("federation.roundz=3", "roundz"),
        ("+federation.roundz=3", "roundz"),
        ("federation.rounds=many", "many"),
        ("federation.rounds=0", "federation.rounds=0"),
        ("preset=none", "preset"),
        ("image.size=50", "multiple of 32"),
        ("study.arms=[real,guess]", "guess"),
        ("study.arms=[real,blob,real]", "study.arms=[real,blob,real]: real stands there twice"),
        ("study.federated_arms=[real,real]", "study.federated_arms=[real,real]: real stands there twice"),
        ("organs.brain.contrasts=[flair,flair]", "organs.brain.contrasts=[flair,flair]: flair stands there twice"),
        ("site.hospital1.contrasts=[t1,t2,t1]", "site.hospital1.contrasts=[t1,t2,t1]: t1 stands there twice"),
        ("strategy.quorum=0", "quorum"),
        ("strategy.deadline=-1", "deadline"),
        ("federation.share=nothing", "share"),
        ("simulation.engine=mpi", "in_process, ray"),
        ("split.train=0.9", "fractions"),
        ("site.hospital1.colour=red", "colour"),
        ("a=b=c", "a"),
    ],
)
def test_a_wrong_override_is_refused_and_named(override: str, named: str) -> None:
    with pytest.raises(ConfigError) as error:
        compose([override])
    assert named in str(error.value)
    assert "To append" not in str(error.value)


@pytest.mark.parametrize(
    ("model", "override", "named"),
    [
        (
            "cyclegan",
            "domains=[{organ: brain, contrasts: [t1,t1]},{organ: brain, contrasts: [t2,flair]}]",
            "domains[0]",
        ),
        ("wgan_gp", "domains=[{organ: brain, contrasts: [t1,t2]},{organ: brain, contrasts: [t2,t2]}]", "domains[1]"),
        ("translation", "source=[t1,t1]", "source=[t1,t1]"),
        ("translation", "target=[t2,t2]", "target=[t2,t2]"),
    ],
)
def test_a_models_own_contrasts_are_named_once(model: str, override: str, named: str) -> None:
    with pytest.raises(ConfigError, match="stands there twice; name each once") as error:
        compose([f"model=[{model}]", f"models.{model}.{override}"])
    assert f"models.{model}.{named}" in str(error.value)


@pytest.mark.parametrize("family", ["cgan", "cyclegan", "translation", "wgan_gp"])
def test_a_resolved_study_names_every_key_of_a_model(family: str) -> None:
    """The file of a family only selects it: a default that stood there as well could drift from the schema's."""
    assert OmegaConf.load(MODELS / f"{family}.yaml") == {"family": family}
    default = trainer_module(family).Config()
    entry = compose([f"model=[{family}]", f"models.{family}.width=12", f"models.{family}.min_slices=9"]).models[family]
    assert set(entry) - {"federation"} == {"family", *(one.name for one in fields(default))}
    assert (entry["width"], entry["min_slices"]) == (12, 9)
    assert (entry["betas"], entry["learning_rate"]) == (default.betas, default.learning_rate)


def test_a_model_that_was_added_has_its_familys_defaults() -> None:
    second = compose(["+models.second={family: cgan, width: 4}"]).models["second"]
    assert second == {"family": "cgan", **asdict(replace(cgan.Config(), width=4))}


def test_the_small_classifier_is_the_default_and_its_file_only_selects_it() -> None:
    assert OmegaConf.load(MODELS.with_name("classifier") / "small_resnet.yaml") == {"network": "small_resnet"}
    chosen = compose(["preset=demo"]).classifier
    assert replace(chosen, federation=ClassifierConfig().federation) == ClassifierConfig()
    assert chosen.batch_size == 16


def test_a_new_site_can_be_added_by_override() -> None:
    added = compose(["+site.hospital9={reader: brats, organ: brain, path: /data/four}"])
    assert added.site["hospital9"].path == "/data/four"
    assert compose(["+site.hospital9.path=/data/four"]).site["hospital9"].reader == "brats"
    with pytest.raises(ConfigError, match="colour"):
        compose(["+site.hospital9.colour=red"])


def test_a_key_that_the_model_does_not_know_is_refused() -> None:
    with pytest.raises(ConfigError, match="colour"):
        model_of(compose(["+models.cgan.colour=3"]), "cgan")


def test_a_model_name_cannot_reach_other_modules() -> None:
    for name in ("trainer", "os", "../cgan", "steps.x"):
        experiment = compose([])
        experiment.models["cgan"]["family"] = name
        with pytest.raises(ConfigError, match="unknown model"):
            model_of(experiment, "cgan")


def test_text_that_is_not_yaml_is_refused() -> None:
    with pytest.raises(ConfigError, match="YAML"):
        from_yaml("a: [1")


def test_a_study_may_train_several_gans_each_with_its_own_round_loop() -> None:
    second = "+models.second={family: cgan, width: 4, runs: 3, federation: {rounds: 2}}"
    experiment = compose(["model=[cgan]", second, "models.cgan.width=24"])
    assert list(experiment.models) == ["cgan", "second"]
    first, second = (model_of(experiment, name) for name in experiment.models)
    assert (first.config.width, second.config.width) == (24, 4)
    assert (first.federation, first.runs) == (experiment.federation, 1)
    assert (second.federation.rounds, second.runs) == (2, 3)
    assert second.federation.local_steps == experiment.federation.local_steps


def test_what_a_preset_says_of_a_model_that_is_not_trained_is_left_out() -> None:
    assert list(compose(["preset=paper", "model=[cgan]"]).models) == ["cgan"]


def test_what_is_said_of_a_model_or_organ_that_is_no_part_of_the_study_is_refused() -> None:
    for override in ("models.wgan_gp.width=8", "+models.other={width: 4}", "organs.liver.min_tumour_pixels=9"):
        with pytest.raises(ConfigError, match="has no effect"):
            compose(["preset=paper", "model=[cgan]", "site=brain", override])


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ("models.cgan.federation.rounds=0", r"models\.cgan\.federation\.rounds=0: must be from 1 to 100,000"),
        ("models.cgan.federation.colour=3", r"models\.cgan\.federation\.colour=3: there is no such key"),
        ("models.cgan.runs=0", r"models\.cgan\.runs=0: must be a whole number, from 1 to 100"),
    ],
)
def test_a_models_round_loop_is_checked(override: str, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        model_of(compose([f"+{override}"]), "cgan")


def test_the_arms_can_only_train_on_a_model_of_the_study() -> None:
    with pytest.raises(ConfigError, match=r"study\.generator=gan2: the study's models are cgan"):
        compose(["model=[cgan]", "study.generator=gan2"])


def test_a_study_without_a_gan_is_refused() -> None:
    with pytest.raises(ConfigError, match="models"):
        compose(["model=[]"])
