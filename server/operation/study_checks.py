"""What ``oncofed-server run`` refuses of a study before anything is handed over."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from common.errors import ConfigError
from common.study.config import compose
from common.study.experiment import Experiment
from common.study.experiment_paths import with_absolute_paths
from common.study.weights import needed_weights, resolve_weights
from common.system.devices import device_problem
from server.reference import PARTS
from server.run_folder import require_run_name
from server.whole_study import KnownSite, require_whole

SIMULATED = ("site", "partition", "cohort")
"""Sections that describe simulated sites."""

USED = ("simulation.runs_dir", "simulation.cache_dir")
"""What the coordinator's own side reads of the section ``simulation``."""

_KEY = re.compile(r"[+~]*([^=@:]+)")


def composed(overrides: Sequence[str]) -> Experiment:
    """The study that ``overrides`` describe; its sites are those of the federation.

    Raises:
        ConfigError: for what cannot be composed, and for a key that has no effect between institutions.
    """
    for key, override in ((_key(one), one) for one in overrides):
        section = key.partition(".")[0]
        if section in SIMULATED:
            raise ConfigError(
                f"{override}: describes simulated sites; here each hospital's own site.yaml says this, and --sites "
                "chooses among those that have joined"
            )
        if section == "simulation" and key not in USED:
            raise ConfigError(f"{override}: belongs to oncofed-simulation; of this section {' and '.join(USED)} count")
        if key == "study.centralised" and not override.endswith("=false"):
            raise ConfigError(f"{override}: only in a simulation do the slices of all sites lie in one place")
    return compose(["site=none", *overrides])


def checked(
    experiment: Experiment,
    sites: Mapping[str, str],
    reference: Mapping[str, Path] | None = None,
    overrides: Sequence[str] = (),
) -> Experiment:
    """The experiment with absolute paths and the organs of its sites, after what this side can check of it.

    Args:
        sites: organ by site.
        reference: folder by organ as ``federation.yaml`` says; a path that the experiment names comes first.
        overrides: what was asked for, to be refused where it would have no effect.

    Raises:
        ConfigError: naming the key.
    """
    made = with_absolute_paths(experiment)
    require_run_name(made.name)
    _require_used(overrides, sites)
    # A preset may speak of organs that were not chosen; what was chosen has a reference set.
    chosen = set(sites.values()) & set(made.reference)
    made.organs = {organ: config for organ, config in made.organs.items() if organ in chosen}
    made.reference = {organ: one for organ, one in made.reference.items() if organ in made.organs}
    if not made.organs:
        raise ConfigError(
            f"organ: the study is about none of {', '.join(sorted(set(sites.values())))}, which sites have"
        )
    require_whole(made, [KnownSite(name, organ) for name, organ in sites.items()])
    for organ, one in made.reference.items():
        if not one.path and organ in (reference or {}):
            one.path = str((reference or {})[organ])
    _require_reference(made)
    problem = device_problem(made.evaluation.device)
    if problem:
        raise ConfigError(f"evaluation.device={made.evaluation.device}: {problem}")
    resolve_weights(made.weights, needed_weights(made))
    return made


def _key(override: str) -> str:
    found = _KEY.match(override)
    return found.group(1).strip() if found else override


def _require_used(overrides: Sequence[str], sites: Mapping[str, str]) -> None:
    """Refuses values for organs that no site has: the study leaves these organs out."""
    there = set(sites.values())
    for override in overrides:
        section, _, rest = _key(override).partition(".")
        if section in ("reference", "organs") and rest and rest.partition(".")[0] not in there:
            raise ConfigError(f"{override}: no site that is to take part has this organ; they have {_listed(there)}")
        asked = set(re.findall(r"[a-z]+", override.partition("=")[2])) if section == "organ" else set()
        if asked & there and asked - there:
            raise ConfigError(
                f"{override}: no site that is to take part has {_listed(asked - there)}; they have {_listed(there)}"
            )


def _require_reference(made: Experiment) -> None:
    for organ in made.organs:
        path = made.reference[organ].path
        parts = ", ".join(PARTS)
        if not path:
            raise ConfigError(
                f"reference.{organ}.path must name the coordinator's reference set of the {organ}, or `reference: "
                f"{{{organ}: FOLDER}}` in federation.yaml: a folder with {parts}"
            )
        missing = [part for part in PARTS if not (Path(path) / part).is_dir()]
        if missing:
            raise ConfigError(f"reference.{organ}.path={path}: has no folder {missing[0]}; a reference set has {parts}")


def _listed(organs: set[str]) -> str:
    return ", ".join(sorted(organs))
