"""The one place where Hydra is read: from overrides or YAML to a checked experiment, and back.

Config enters at the edge: :func:`compose` turns a list of overrides into an :class:`Experiment`, :func:`from_yaml`
does the same with what the coordinator sent. Inside, functions take typed values.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_module
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from common.config_checks import (
    check_arms,
    check_contrasts,
    check_federation,
    check_privacy,
    check_private_model,
    check_trials,
)
from common.errors import ConfigError
from common.experiment import (
    ARMS,
    LOCAL_SECTIONS,
    LOCAL_STEPS,
    MIXING_ARMS,
    Experiment,
    FederationConfig,
    OrganConfig,
    PreprocessingConfig,
    SiteConfig,
)
from common.safe_yaml import read_yaml, yaml_problem

# The schema stands first in the defaults list, so that every key exists (and is typed) before a YAML or an override
# touches it.
ConfigStore.instance().store(name="schema", node=Experiment)


_OPEN = ("site.", "partition.", "organs.", "reference.", "models.")
"""Mappings to which a command line may add an entry."""

MOST_RUNS = 100
"""Trainings of one model with different seeds; a site plans for each of them before the first."""

DUPLICATES = ("refuse", "join")

_MODEL_NAME = re.compile(r"[a-z][a-z0-9_]{0,29}")


def compose(overrides: list[str]) -> Experiment:
    """The experiment that ``overrides`` describe, e.g. ``["preset=demo", "seed=2"]``.

    Raises:
        ConfigError: for an unknown key, a value of the wrong type or a group that does not exist.
    """
    overrides = [_home_quoted(item) for item in overrides]
    # Hydra cannot add an entry to a typed mapping, so a new site is merged in afterwards.
    new_sites = [item for item in overrides if item.startswith("+") and item.lstrip("+").startswith(_OPEN)]
    try:
        tree = OmegaConf.create(_composed(tuple(item for item in overrides if item not in new_sites)))
        for override in OverridesParser.create().parse_overrides(new_sites):
            OmegaConf.update(tree, override.key_or_group, override.value(), merge=True, force_add=True)
        return _typed(tree)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_plain(error)) from error


def _home_quoted(override: str) -> str:
    """Hydra's grammar has no word that begins with ``~``, as a path in the user's home does.

    >>> _home_quoted("site.a.path=~/scans"), _home_quoted("seed=1")
    ("site.a.path='~/scans'", 'seed=1')
    """
    key, is_set, value = override.partition("=")
    return f"{key}='{value}'" if is_set and value.startswith("~") and "'" not in value else override


@lru_cache(maxsize=32)
def _composed(overrides: tuple[str, ...]) -> Any:
    """What Hydra makes of them; kept, because it takes half a second and one command may ask several times.

    A plain container: "+key=value" opens the typed config that Hydra returns, and would slip through.
    """
    with initialize_config_module("configs", version_base="1.3"):
        return OmegaConf.to_container(hydra_compose("config", overrides=list(overrides)))


def from_yaml(text: str) -> Experiment:
    """The experiment in a resolved YAML text; the same checks as :func:`compose`.

    Raises:
        ConfigError: for what :func:`compose` refuses, for text that is no YAML or unsafe (:mod:`common.safe_yaml`), and
            for references: where the text comes from another, ``${oc.env:…}`` would read this machine's environment.
    """
    try:
        tree = read_yaml(text)
        if not isinstance(tree, dict):
            raise ConfigError("not a study's configuration: it must be a list of `key: value` lines")
        if "${" in str(tree):
            raise ConfigError("holds a reference (${…}); a study's configuration must be resolved")
        return _typed(OmegaConf.create(tree))
    except yaml.YAMLError as error:
        raise ConfigError(f"not valid YAML: {yaml_problem(error)}") from error
    except OmegaConfBaseException as error:
        raise ConfigError(_plain(error)) from error
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
    from common.training.trainer import trainer_module

    if name not in experiment.models:
        raise ConfigError(f"models.{name}: the study has {', '.join(experiment.models) or 'no model'}")
    entry = dict(experiment.models[name])
    family = str(entry.pop("family", ""))
    federation = entry.pop("federation", None) or {}
    runs = entry.pop("runs", experiment.study.runs)
    schema = OmegaConf.structured(trainer_module(family).Config)
    try:
        config = OmegaConf.to_object(OmegaConf.merge(schema, entry))
        loop = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(experiment.federation), federation))
    except OmegaConfBaseException as error:
        raise ConfigError(f"models.{name}: {_plain(error)}") from error
    assert isinstance(loop, FederationConfig)
    check_federation(f"models.{name}.federation", loop)
    if not isinstance(runs, int) or not 1 <= runs <= MOST_RUNS:
        raise ConfigError(f"models.{name}.runs={runs}: must be a whole number from 1 to {MOST_RUNS}")
    return Model(name, family, config, loop, runs)


def _typed(tree: Any) -> Experiment:
    experiment = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Experiment), tree))
    assert isinstance(experiment, Experiment)
    _share_out(experiment)
    _keep_used_organs(experiment)
    _keep_chosen_models(experiment)
    _serve_proxies(experiment)
    if experiment.privacy.mode == "patient_dp":
        # An image with a lesion of one patient in a slice of another cannot be paid for by patient.
        experiment.study.arms = [arm for arm in experiment.study.arms if arm not in MIXING_ARMS]
        # Arms on another GAN's images would be trainings of their own, to be paid for.
        experiment.study.each_generator = False
    check(experiment)
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
    experiment.models = {name: entry for name, entry in experiment.models.items() if "family" in (entry or {})}


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


def site_steps(organ: OrganConfig, own: dict[str, Any]) -> PreprocessingConfig:
    """The study's steps for an organ, with what one site does differently.

    Raises:
        ConfigError: for a step that all sites must share, or a value that does not fit.
    """
    for step in own:
        if step not in LOCAL_STEPS:
            raise ConfigError(f"steps.{step}: a site may choose {', '.join(LOCAL_STEPS)}; the study fixes the others")
    try:
        merged = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(organ.steps), own))
    except OmegaConfBaseException as error:
        raise ConfigError(f"steps: {_plain(error)}") from error
    assert isinstance(merged, PreprocessingConfig)
    return merged


def check(experiment: Experiment) -> None:
    """Refuses values that would fail only after hours.

    Raises:
        ConfigError: naming the key, the value and what is allowed.
    """

    def require(holds: bool, key: str, value: object, allowed: str) -> None:
        if not holds:
            raise ConfigError(f"{key}={value}: {allowed}")

    size = experiment.image.size
    require(32 <= size <= 2048 and size % 32 == 0, "image.size", size, "must be a multiple of 32, at most 2048")
    require(bool(experiment.organs), "organs", "{}", "a study needs at least one, e.g. organ=[brain]")
    check_contrasts(experiment)
    counts = {organ: len(config.contrasts) for organ, config in experiment.organs.items()}
    require(
        len(set(counts.values())) == 1 and 0 not in counts.values(),
        "organs.*.contrasts",
        counts,
        "the networks are shared, so every organ needs the same number of contrasts",
    )
    for name, site in experiment.site.items():
        require(
            site.organ in experiment.organs, f"site.{name}.organ", site.organ, f"there is no organs.{site.organ} for it"
        )
        policy = site.identifying_data
        require(policy in ("refuse", "quarantine"), f"site.{name}.identifying_data", policy, "refuse or quarantine")
        require(site.duplicates in DUPLICATES, f"site.{name}.duplicates", site.duplicates, "refuse or join")
        site_steps(experiment.organs[site.organ], site.steps)
    for name, part in experiment.partition.items():
        require(part.duplicates in DUPLICATES, f"partition.{name}.duplicates", part.duplicates, "refuse or join")
        require(part.sites >= 1, f"partition.{name}.sites", part.sites, "must be at least 1")
        require(part.scheme in ("even", "dirichlet"), f"partition.{name}.scheme", part.scheme, "even or dirichlet")
        require(part.alpha > 0, f"partition.{name}.alpha", part.alpha, "must be positive")
        require(part.least >= 1, f"partition.{name}.least", part.least, "must be at least 1")
    for arm in experiment.study.arms:
        require(arm in ARMS, "study.arms", arm, f"known arms are {', '.join(ARMS)}")
    require(abs(experiment.seed) < 2**63, "seed", experiment.seed, "must be below 2^63")
    study = experiment.study
    require(1 <= study.bootstrap <= 100_000, "study.bootstrap", study.bootstrap, "must be from 1 to 100,000")
    require(study.min_cell >= 1, "study.min_cell", study.min_cell, "must be at least 1")
    require(0 < study.synthetic_ratio <= 100, "study.synthetic_ratio", study.synthetic_ratio, "above 0, at most 100")
    check_arms(experiment)
    check_trials(experiment)
    shown = experiment.evaluation.gallery
    require(1 <= shown <= 1000, "evaluation.gallery", shown, "must be from 1 to 1000")
    check_federation("federation", experiment.federation)
    check_federation("classifier.federation", experiment.classifier.federation)
    require(bool(experiment.models), "models", "{}", "a study needs at least one GAN, e.g. model=[cgan]")
    for name in experiment.models:
        require(bool(_MODEL_NAME.fullmatch(name)), "models", name, "a model's name is lower case, digits and _")
    generator = experiment.study.generator
    require(
        generator is None or generator in experiment.models,
        "study.generator",
        generator,
        f"the study's models are {', '.join(experiment.models)}",
    )
    strategy = experiment.strategy
    require(strategy.name in ("fedavg", "fedprox"), "strategy.name", strategy.name, "fedavg or fedprox")
    require(strategy.quorum >= 1, "strategy.quorum", strategy.quorum, "must be at least 1")
    require(strategy.deadline > 0, "strategy.deadline", strategy.deadline, "must be positive (seconds)")
    engine = experiment.simulation.engine
    require(engine in ("in_process", "ray"), "simulation.engine", engine, "in_process or ray")
    check_privacy(experiment)
    for name in experiment.models if experiment.privacy.mode != "none" else []:
        check_private_model(name, model_of(experiment, name).config)
    steps = experiment.pretraining
    require(steps.gan_steps >= 0, "pretraining.gan_steps", steps.gan_steps, "must be at least 0")
    require(steps.classifier_steps >= 0, "pretraining.classifier_steps", steps.classifier_steps, "must be at least 0")
    parts = (experiment.split.train, experiment.split.validation, experiment.split.test)
    require(
        min(parts) >= 0 and (abs(sum(parts) - 1) < 1e-6 or all(p == int(p) for p in parts)),
        "split",
        parts,
        "three fractions that sum to 1, or three whole numbers of patients",
    )


def _plain(error: Exception) -> str:
    """The first useful line of a Hydra or OmegaConf error."""
    cause = error.__cause__ or error
    lines = [line.strip() for line in f"{error}\n{cause}".splitlines() if line.strip()]
    lines = [line.rstrip(".") for line in lines if not line.startswith("To append")]
    return "; ".join(dict.fromkeys(lines[:3]))
