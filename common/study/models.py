"""The GANs of a study: their entries of ``models``, typed and checked."""

from dataclasses import dataclass
from typing import Any

from common.errors import ConfigError
from common.study.allowed import refused, require_allowed
from common.study.experiment import MOST_RUNS, Experiment, FederationConfig
from common.study.sections import fitted


@dataclass(frozen=True)
class Model:
    """One GAN of a study.

    Attributes:
        name: its entry of ``models``.
        family: the module of ``common/training`` that trains it.
        config: that family's own typed ``Config``.
        federation: its round loop.
        runs: how many trainings with different seeds.
    """

    name: str
    family: str
    config: Any
    federation: FederationConfig
    runs: int


def model_of(experiment: Experiment, name: str) -> Model:
    """The entry ``name`` of ``models``, typed and checked.

    Raises:
        ConfigError: if the study has no such model, its family is unknown or a key is not one of its.
    """
    from common.training.families import trainer_module

    if name not in experiment.models:
        raise ConfigError(f"models.{name}: the study has {', '.join(experiment.models) or 'no model'}")
    key, entry = f"models.{name}", dict(experiment.models[name])
    family = entry.pop("family", "")
    if not isinstance(family, str):
        raise refused(f"{key}.family", family, "must be the name of a family of GANs")
    federation = entry.pop("federation", None)
    runs = entry.pop("runs", experiment.study.runs)
    module = trainer_module(family, f"{key}.family")
    config = fitted(entry, module.Config, f"{key}.", also=("federation", "runs"))
    loop = fitted({} if federation is None else federation, experiment.federation, f"{key}.federation.")
    assert isinstance(loop, FederationConfig)
    require_allowed(loop, f"{key}.federation.")
    if type(runs) is not int or not 1 <= runs <= MOST_RUNS:
        raise refused(f"{key}.runs", runs, f"must be a whole number, from 1 to {MOST_RUNS}")
    module.Trainer.check_config(config, experiment.image, key)
    return Model(name, family, config, loop, runs)
