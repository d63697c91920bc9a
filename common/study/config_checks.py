"""What a study must not ask for: values of its configuration that could not be done, or not privately."""

import re
from typing import Any

from common.errors import ConfigError
from common.imaging.names import ORGANS
from common.study.allowed import not_private, refused, require, require_each_once, shown_value
from common.study.experiment import Experiment
from common.system.near_names import did_you_mean

SITE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,49}")
"""As a site's own ``site.yaml`` wants it."""

PARTITION_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,44}")
"""A number follows it in the names of its sites."""

MODEL_NAME = re.compile(r"[a-z][a-z0-9_]{0,29}")


def check_names(experiment: Experiment) -> None:
    """Names that whoever writes a study gives to sites, partitions and models, or takes from what is known.

    Raises:
        ConfigError: naming the key and what is allowed.
    """
    for name in experiment.site:
        if not SITE_NAME.fullmatch(name):
            raise ConfigError(f"site.{name}: a site's name is 1 to 50 of a to z, digits, _ and -, as in site.hospital4")
    for name in experiment.partition:
        if not PARTITION_NAME.fullmatch(name):
            raise ConfigError(f"partition.{name}: its name is 1 to 45 of a to z, digits, _ and -")
    for name, entry in experiment.models.items():
        if not MODEL_NAME.fullmatch(name):
            raise ConfigError(f"models.{name}: a model's name is 1 to 30 of a to z, digits and _, a letter first")
        if not isinstance(entry, dict):
            raise refused(f"models.{name}", entry, "must be a section, with keys of its own")
    for section, names in (("organs", experiment.organs), ("reference", experiment.reference)):
        for name in names:
            if name not in ORGANS:
                meant = did_you_mean(name, ORGANS)
                raise ConfigError(f"{section}.{name}: there is no organ {name}; known are {', '.join(ORGANS)}{meant}")


def check_trials(experiment: Experiment) -> None:
    """Repetitions of the classifier study that could not be done."""
    study = experiment.study
    for key, values in (("curve", study.curve), ("ratios", study.ratios)):
        require_each_once(f"study.{key}", values, "name each once")
    for arm in study.federated_arms:
        require(
            arm in study.arms, "study.federated_arms", arm, "is no arm of this study; with privacy none mixes patients"
        )
    require(
        not study.federated_arms or "real" in study.federated_arms,
        "study.federated_arms",
        study.federated_arms,
        "must hold real: the others' gains are told over it",
    )
    require(
        "local_generator" not in study.arms or not experiment.pretraining.gan_steps,
        "study.arms",
        "local_generator",
        "is no fair comparison with pretraining.gan_steps: it starts without public images",
    )
    if experiment.privacy.mode == "none":
        return
    # Each repetition would train on the same patients again, and would have to be planned and paid for.
    for key in ("folds", "curve", "ratios", "most_patients", "most_tumour_patients"):
        require(not getattr(study, key), f"study.{key}", getattr(study, key), "is not possible with privacy=patient_dp")
    require(study.runs == 1, "study.runs", study.runs, "must be 1 with privacy=patient_dp")
    require(not study.centralised, "study.centralised", True, "is not possible with privacy=patient_dp")


def check_privacy(experiment: Experiment) -> None:
    """Values that cannot be private; what only the networks show is checked before each training, at the site."""
    privacy = experiment.privacy
    require(
        privacy.scores == "exact" or privacy.mode != "none",
        "privacy.scores",
        privacy.scores,
        "noise is paid for: choose privacy=patient_dp",
    )
    if privacy.mode == "none":
        return
    mu = experiment.strategy.proximal_mu
    require(mu == 0, "strategy.proximal_mu", mu, "no proximal term with privacy=patient_dp; choose strategy=fedavg")


def check_private_model(name: str, config: Any) -> None:
    """Choices of a model that cannot be private, as its keys declare them.

    Args:
        config: its family's typed ``Config``: what the study does not say is the family's default, and counts alike.
    """
    for key, value, limit in not_private(config):
        wanted = " or ".join(map(shown_value, limit.values))
        raise refused(f"models.{name}.{key}", value, f"must be {wanted} with privacy=patient_dp: {limit.because}")


def check_arms(experiment: Experiment) -> None:
    """Lists of arms that name one twice: it would be trained twice and told once."""
    for key in ("arms", "federated_arms"):
        require_each_once(f"study.{key}", getattr(experiment.study, key), "name every arm once")
