"""The one place where Hydra is read: from overrides or YAML to a checked experiment, and back.

Config enters at the edge: :func:`compose` turns a list of overrides into an :class:`Experiment`, :func:`from_yaml`
does the same with what the coordinator sent. Inside, functions take typed values.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_module
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from common.errors import ConfigError
from common.imaging.steps.check import check_preprocessing
from common.study.allowed import require, require_allowed
from common.study.config_checks import check_arms, check_names, check_privacy, check_private_model, check_trials
from common.study.experiment import (
    LOCAL_SECTIONS,
    LOCAL_STEPS,
    MIXING_ARMS,
    Experiment,
    OrganConfig,
    PreprocessingConfig,
)
from common.study.models import model_of
from common.study.overrides import TAKEN_OUT, Override, read_overrides, set_value
from common.study.sections import fitted
from common.study.simulated import SiteConfig
from common.system.near_names import did_you_mean
from common.system.outside import printable
from common.system.safe_yaml import read_yaml, yaml_problem

# The schema stands first in the defaults list, so that every key exists (and is typed) before a YAML or an override
# touches it.
ConfigStore.instance().store(name="schema", node=Experiment)

NAMED = ("site", "partition", "organs", "reference", "models")
"""Mappings whose entries are named by whoever writes a study; a new one is added with ``+``."""


def compose(overrides: Sequence[str]) -> Experiment:
    """The experiment that ``overrides`` describe, e.g. ``["preset=demo", "seed=2"]``.

    Raises:
        ConfigError: for an unknown key, a value of the wrong type or that is not allowed, or a file that does not
            exist; it names the key as it was written.
    """
    typed = read_overrides(overrides)
    try:
        tree = deepcopy(_composed(typed.choices))
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_plain(error)) from error
    for one in typed.values:
        set_value(tree, one, NAMED)
    experiment = _typed(tree)
    _require_effect(experiment, [one for one in typed.values if one.value is not TAKEN_OUT])
    return experiment


@lru_cache(maxsize=32)
def _composed(choices: tuple[str, ...]) -> dict[str, Any]:
    """What Hydra makes of them; kept, because it takes half a second and one command may ask several times."""
    with initialize_config_module("configs", version_base="1.3"):
        tree = OmegaConf.to_container(hydra_compose("config", overrides=list(choices)))
    assert isinstance(tree, dict)
    return {str(key): value for key, value in tree.items()}


def _require_effect(experiment: Experiment, values: Sequence[Override]) -> None:
    """Refuses a value of something that is no part of the study: it would be left out without a word."""
    for one in values:
        section, _, rest = one.key.partition(".")
        name = rest.partition(".")[0]
        there: Mapping[str, Any] = getattr(experiment, section) if section in ("organs", "reference", "models") else {}
        if not name or name in there or section not in ("organs", "reference", "models"):
            continue
        way = "choose it with model=[…]" if section == "models" else "choose a site that has it"
        raise ConfigError(
            f"{printable(one.text)}: has no effect: of {section} the study has {', '.join(there) or 'none'}; {way}, or "
            f"leave it out{did_you_mean(name, there)}"
        )


def from_yaml(text: str) -> Experiment:
    """The experiment in a resolved YAML text; the same checks as :func:`compose`.

    Raises:
        ConfigError: for what :func:`compose` refuses, for text that is no YAML or unsafe
            (:mod:`common.system.safe_yaml`), and for references: where the text comes from another, ``${oc.env:…}``
            would read this machine's environment.
    """
    try:
        tree = read_yaml(text)
        if not isinstance(tree, dict):
            raise ConfigError("not a study's configuration: it must be a list of `key: value` lines")
        if "${" in str(tree):
            raise ConfigError("holds a reference (${…}); a study's configuration must be resolved")
        return _typed(tree)
    except yaml.YAMLError as error:
        raise ConfigError(f"not valid YAML: {yaml_problem(error)}") from error
    except ValueError as error:
        raise ConfigError("holds a number that cannot be one") from error


def read_experiment(path: Path) -> Experiment:
    """:func:`from_yaml` of a file.

    Raises:
        ConfigError: as :func:`from_yaml`, naming the file, and if it cannot be read.
    """
    try:
        return from_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text") from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def to_yaml(experiment: Experiment, *, leaving: bool = False) -> str:
    """YAML that :func:`from_yaml` reads back; with ``leaving`` without the sections that name local paths."""
    tree = OmegaConf.to_container(OmegaConf.structured(experiment))
    assert isinstance(tree, dict)
    if leaving:
        for section in LOCAL_SECTIONS:
            tree.pop(section)
    return str(OmegaConf.to_yaml(OmegaConf.create(tree)))


def _typed(tree: dict[str, Any]) -> Experiment:
    experiment = fitted(tree, Experiment)
    assert isinstance(experiment, Experiment)
    # First: a partition of a billion sites would be shared out before it is refused.
    require_allowed(experiment)
    check_names(experiment)
    _share_out(experiment)
    _keep_used_organs(experiment)
    _keep_chosen_models(experiment)
    if experiment.privacy.mode == "patient_dp":
        # An image with a lesion of one patient in a slice of another cannot be paid for by patient.
        experiment.study.arms = [arm for arm in experiment.study.arms if arm not in MIXING_ARMS]
        # Arms on another GAN's images would be trainings of their own, to be paid for.
        experiment.study.each_generator = False
    check(experiment)
    _fill_in_defaults(experiment)
    _serve_proxies(experiment)
    check_models(experiment)
    return experiment


def _share_out(experiment: Experiment) -> None:
    """Each partition becomes its sites; done once, so that a resolved configuration can be read back."""
    for name, partition in experiment.partition.items():
        for number in range(1, partition.sites + 1):
            site = f"{name}-{number:0{len(str(partition.sites))}d}"
            experiment.site.setdefault(
                site,
                SiteConfig(
                    reader=partition.reader,
                    organ=partition.organ,
                    path=partition.path,
                    options=dict(partition.options),
                    scanner=partition.scanner,
                    duplicates=partition.duplicates,
                    partition=name,
                ),
            )


def _keep_used_organs(experiment: Experiment) -> None:
    """Organs that no site of the study has are left out, and their reference sets with them."""
    if experiment.site:
        used = {site.organ for site in experiment.site.values()}
        experiment.organs = {organ: config for organ, config in experiment.organs.items() if organ in used}
    experiment.reference = {organ: ref for organ, ref in experiment.reference.items() if organ in experiment.organs}


def _keep_chosen_models(experiment: Experiment) -> None:
    """A preset may speak of models that the study does not train; they have no family."""
    experiment.models = {name: entry for name, entry in experiment.models.items() if "family" in entry}


def _fill_in_defaults(experiment: Experiment) -> None:
    """What a study does not say of a model is its family's default: a resolved configuration names it."""
    from common.training.families import trainer_module

    for name, entry in experiment.models.items():
        if isinstance(family := entry["family"], str):
            defaults = OmegaConf.to_container(
                OmegaConf.structured(trainer_module(family, f"models.{name}.family").Config)
            )
            assert isinstance(defaults, dict)
            experiment.models[name] = {**defaults, **entry}


def _serve_proxies(experiment: Experiment) -> None:
    """A GAN whose slices stand in for those of a translation's two sides has to learn both of them.

    Where ``domains`` does not say what it learns, it learns these sides and, of the other organs, what the study shows.
    """
    for entry in experiment.models.values():
        source = experiment.models.get(entry.get("proxy_model", ""))
        if entry.get("exchange") != "proxies" or source is None or source.get("domains", 0) is not None:
            continue
        sides = [dict(side) for side in entry.get("domains") or []]
        organs = {side.get("organ") for side in sides}
        others = [
            {"organ": organ, "contrasts": list(config.contrasts)}
            for organ, config in experiment.organs.items()
            if organ not in organs
        ]
        source["domains"] = [*sides, *others]


def contrasts_by_organ(experiment: Experiment) -> dict[str, tuple[str, ...]]:
    """The channels of a slice of each organ: the same number for all."""
    return {organ: tuple(config.contrasts) for organ, config in experiment.organs.items()}


def channels(experiment: Experiment) -> int:
    """Contrasts of a slice: the same number for every organ of the study."""
    return len(next(iter(experiment.organs.values())).contrasts)


def site_steps(organ: OrganConfig, own: dict[str, Any], prefix: str = "steps.") -> PreprocessingConfig:
    """The study's steps for an organ, with what one site does differently.

    Raises:
        ConfigError: for a step that all sites must share, or a value that does not fit.
    """
    if not own:
        return organ.steps
    for step in own:
        if step not in LOCAL_STEPS:
            raise ConfigError(
                f"{prefix}{step}: a site may choose {', '.join(LOCAL_STEPS)}; the study fixes the others"
                f"{did_you_mean(str(step), LOCAL_STEPS)}"
            )
    merged = fitted(own, organ.steps, prefix)
    assert isinstance(merged, PreprocessingConfig)
    require_allowed(merged, prefix)
    return merged


def check(experiment: Experiment) -> None:
    """Refuses values that would fail only after hours, before the families of models are imported.

    Raises:
        ConfigError: naming the key, the value and what is allowed.
    """
    require_allowed(experiment)
    size = experiment.image.size
    require(size % 32 == 0, "image.size", size, "must be a multiple of 32, from 32 to 2,048")
    require(bool(experiment.organs), "organs", "{}", "a study needs at least one, e.g. organ=[brain]")
    counts = {organ: len(config.contrasts) for organ, config in experiment.organs.items()}
    require(
        len(set(counts.values())) == 1,
        "organs.*.contrasts",
        counts,
        "the networks are shared, so every organ needs the same number of contrasts",
    )
    for organ, config in experiment.organs.items():
        check_preprocessing(config.steps, organ)
        most = size * size
        pixels = config.min_tumour_pixels
        require(pixels <= most, f"organs.{organ}.min_tumour_pixels", pixels, f"a slice has {most:,} pixels")
    for name, site in experiment.site.items():
        organs = list(experiment.organs)
        ways = f"choose organ=[{','.join([*organs, site.organ])}], or sites that have another, e.g. site={organs[0]}"
        allowed = f"the study is about {', '.join(organs)}; {ways}"
        require(site.organ in organs, f"site.{name}.organ", site.organ, allowed)
        check_preprocessing(site_steps(experiment.organs[site.organ], site.steps, f"site.{name}.steps."), site.organ)
    for name, part in experiment.partition.items():
        require(
            part.organ in experiment.organs, f"partition.{name}.organ", part.organ, f"there is no organs.{part.organ}"
        )
    check_arms(experiment)
    check_trials(experiment)
    require(bool(experiment.models), "models", "{}", "a study needs at least one GAN, e.g. model=[cgan]")
    generator = experiment.study.generator
    require(
        generator is None or generator in experiment.models,
        "study.generator",
        generator,
        f"the study's models are {', '.join(experiment.models)}",
    )
    check_privacy(experiment)
    parts = (experiment.split.train, experiment.split.validation, experiment.split.test)
    require(
        sum(parts) > 0 and (abs(sum(parts) - 1) < 1e-6 or all(p == int(p) for p in parts)),
        "split",
        parts,
        "three fractions that sum to 1, or three whole numbers of patients",
    )


def check_models(experiment: Experiment) -> None:
    """Refuses models of a family or with keys that there are none of, or that cannot be private in a private study.

    Raises:
        ConfigError: naming the key, the value and what is allowed.
    """
    for name in experiment.models:
        config = model_of(experiment, name).config
        if experiment.privacy.mode != "none":
            check_private_model(name, config)


def _plain(error: Exception) -> str:
    """The first useful line of a Hydra or OmegaConf error."""
    cause = error.__cause__ or error
    lines = [line.strip() for line in f"{error}\n{cause}".splitlines() if line.strip()]
    lines = [line.rstrip(".") for line in lines if not line.startswith("To append")]
    return "; ".join(dict.fromkeys(lines[:3]))
