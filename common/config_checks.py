"""What a study must not ask for: values of its configuration that could not be done, or not privately."""

import math
from typing import Any

from common.errors import ConfigError
from common.experiment import Experiment, FederationConfig

LEAST_CLIP, MOST_CLIP = 1e-6, 1e6
"""Bounds of the clipping norm. Noise is at least 0.3 of it: far from where single precision loses digits (1e-38), also
squared in an optimiser's moments, and after a division by any number of patients."""


def check_trials(experiment: Experiment) -> None:
    """Repetitions of the classifier study that could not be done."""
    study = experiment.study

    def require(holds: bool, key: str, value: object, allowed: str) -> None:
        if not holds:
            raise ConfigError(f"study.{key}={value}: {allowed}")

    require(study.folds == 0 or 2 <= study.folds <= 100, "folds", study.folds, "must be 0 (none), or from 2 to 100")
    require(1 <= study.runs <= 100, "runs", study.runs, "must be from 1 to 100")
    for key in ("most_patients", "most_tumour_patients"):
        require(getattr(study, key) >= 0, key, getattr(study, key), "must be at least 0 (all)")
    for patients in study.curve:
        require(patients >= 2, "curve", patients, "each point must be at least 2 patients")
    for ratio in study.ratios:
        require(0 < ratio <= 100, "ratios", ratio, "each must be above 0, at most 100")
    for key, values in (("curve", study.curve), ("ratios", study.ratios)):
        require(len(set(values)) == len(values), key, values, "names a value twice")
    for arm in study.federated_arms:
        require(arm in study.arms, "federated_arms", arm, "is no arm of this study; with privacy none mixes patients")
    require(
        not study.federated_arms or "real" in study.federated_arms,
        "federated_arms",
        study.federated_arms,
        "must hold real: the others' gains are told over it",
    )
    require(
        "local_generator" not in study.arms or not experiment.pretraining.gan_steps,
        "arms",
        "local_generator",
        "is no fair comparison with pretraining.gan_steps: it starts without public images",
    )
    if experiment.privacy.mode == "none":
        return
    # Each repetition would train on the same patients again, and would have to be planned and paid for.
    for key in ("folds", "curve", "ratios", "most_patients", "most_tumour_patients"):
        require(not getattr(study, key), key, getattr(study, key), "is not possible with privacy=patient_dp")
    require(study.runs == 1, "runs", study.runs, "must be 1 with privacy=patient_dp")
    require(not study.centralised, "centralised", True, "is not possible with privacy=patient_dp")


def check_privacy(experiment: Experiment) -> None:
    """Values that cannot be private; what only the networks show is checked before each training, at the site."""
    privacy = experiment.privacy

    def require(holds: bool, key: str, value: object, allowed: str) -> None:
        if not holds:
            raise ConfigError(f"{key}={value}: {allowed}")

    require(privacy.mode in ("none", "patient_dp"), "privacy.mode", privacy.mode, "none or patient_dp")
    require(0 < privacy.epsilon < math.inf, "privacy.epsilon", privacy.epsilon, "must be positive and finite")
    require(
        LEAST_CLIP <= privacy.clip <= MOST_CLIP,
        "privacy.clip",
        privacy.clip,
        f"must be from {LEAST_CLIP:g} to {MOST_CLIP:g}: noise of that size has all digits of single precision",
    )
    require(privacy.scores in ("exact", "noised"), "privacy.scores", privacy.scores, "exact or noised")
    require(
        privacy.scores == "exact" or privacy.mode != "none",
        "privacy.scores",
        privacy.scores,
        "noise is paid for: choose privacy=patient_dp",
    )
    require(privacy.gradients in ("auto", "loop", "vmap"), "privacy.gradients", privacy.gradients, "auto, loop or vmap")
    require(0 < privacy.steps_share <= 1, "privacy.steps_share", privacy.steps_share, "must be above 0 and at most 1")
    require(0 <= privacy.reserve < 1, "privacy.reserve", privacy.reserve, "must be at least 0 and below 1")
    for key in ("patients_per_step", "slices_per_patient"):
        value = getattr(privacy, key)
        require(1 <= value <= 10_000, f"privacy.{key}", value, "must be from 1 to 10,000")
    for key, factor in privacy.rates.items():
        require(0 < factor < math.inf, f"privacy.rates.{key}", factor, "must be positive and finite")
    if privacy.mode == "none":
        return
    mu = experiment.strategy.proximal_mu
    require(mu == 0, "strategy.proximal_mu", mu, "no proximal term with privacy=patient_dp; choose strategy=fedavg")


def check_private_model(name: str, config: Any) -> None:
    """Choices of a model that cannot be private.

    Args:
        config: its family's typed ``Config``: what the study does not say is the family's default, and counts alike.
    """
    for key, wanted in (("pool", 0), ("diffaugment", ""), ("spectral_norm", False)):
        value = getattr(config, key, wanted)
        if value:
            raise ConfigError(f"models.{name}.{key}={value}: must be {wanted!r} with privacy=patient_dp")
    exchange = getattr(config, "exchange", None)
    if exchange == "gradients":
        raise ConfigError(
            f"models.{name}.exchange={exchange}: sends single steps; choose proxies with privacy=patient_dp"
        )


def check_federation(section: str, federation: FederationConfig) -> None:
    """A round loop that could not be run."""
    if federation.rounds < 1:
        raise ConfigError(f"{section}.rounds={federation.rounds}: must be at least 1")
    if not 0 <= federation.local_steps <= 10_000_000:
        raise ConfigError(f"{section}.local_steps={federation.local_steps}: must be from 0 to 10,000,000")
    if federation.share not in ("all", "generator"):
        raise ConfigError(f"{section}.share={federation.share}: all or generator")


def check_contrasts(experiment: Experiment) -> None:
    """Lists of contrasts that name one twice: two channels of a slice would show the same image, and a study of them
    would be another one than its figures say."""
    lists: dict[str, Any] = {f"organs.{organ}.contrasts": one.contrasts for organ, one in experiment.organs.items()}
    lists |= {f"site.{name}.contrasts": site.contrasts for name, site in experiment.site.items()}
    for name, entry in experiment.models.items():
        # Not typed yet: a value of another kind is refused where it is.
        domains = entry.get("domains")
        for number, domain in enumerate(domains if isinstance(domains, list) else []):
            if isinstance(domain, dict):
                lists[f"models.{name}.domains[{number}].contrasts"] = domain.get("contrasts")
        lists |= {f"models.{name}.{key}": entry[key] for key in ("source", "target") if key in entry}
    for key, values in lists.items():
        _require_each_once(key, values, "name every contrast once")


def check_arms(experiment: Experiment) -> None:
    """Lists of arms that name one twice: it would be trained twice and told once."""
    for key in ("arms", "federated_arms"):
        _require_each_once(f"study.{key}", getattr(experiment.study, key), "name every arm once")


def _require_each_once(key: str, values: object, allowed: str) -> None:
    if isinstance(values, list) and (twice := next((one for one in values if values.count(one) > 1), None)) is not None:
        raise ConfigError(f"{key}=[{','.join(map(str, values))}]: {twice} stands there twice; {allowed}")
