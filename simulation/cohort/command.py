"""``oncofed-simulation cohort``: the demo cohort alone, as it was asked for."""

import re
from collections.abc import Sequence
from pathlib import Path

from common.errors import ConfigError
from common.figures.formatting import plural
from common.study.config import compose
from common.study.experiment import Experiment
from common.study.experiment_paths import with_absolute_paths
from common.system.outside import say
from server.terminal_progress import terminal_progress
from simulation.cohort.contact_sheet import contact_sheet
from simulation.places import demo_folders, demo_sizes, without_unavailable_demo

DECIDING = re.compile(
    r"organ|preset|cohort(\..+)?|simulation\.cache_dir|site|reference\.[^.]+\.path"
    r"|site\.[^.]+(\.(reader|organ|path|scanner|roles))?|partition\.[^.]+(\.(reader|organ|path|scanner|sites))?"
)
"""The keys of a study that say which patients are made."""


def make_cohort(overrides: Sequence[str], sheet: Path) -> None:
    """Makes the demo cohort that ``overrides`` ask for, says where it is, and draws a contact sheet.

    Raises:
        ConfigError: for an override that would change nothing, or if there is nobody to make.
        DataError: if the cohort cannot be made.
    """
    experiment = asked_for(overrides)
    progress = terminal_progress()
    try:
        experiment = without_unavailable_demo(experiment, progress)
        sizes = demo_sizes(experiment)
        parts = ", ".join(f"{name} {count}" for name, count in sizes.items())
        progress.message(f"{plural(sum(sizes.values()), 'patient')}: {parts}")
        folders = demo_folders(experiment, progress)
    finally:
        progress.close()
    for site, path in folders.sites.items():
        say(f"{site}: {path}")
    for organ, path in folders.reference.items():
        say(f"reference set, {organ}: {path}")
    say(f"contact sheet: {contact_sheet(folders, sheet)}")


def asked_for(overrides: Sequence[str]) -> Experiment:
    """The study whose demo cohort is wanted; ``organ`` leaves out the sites of other organs.

    Raises:
        ConfigError: as :func:`make_cohort`.
    """
    keys = {item: item.lstrip("+~").partition("=")[0] for item in overrides}
    for item, key in keys.items():
        if not DECIDING.fullmatch(key):
            raise ConfigError(
                f"{item}: changes nothing about the demo cohort. Its patients are decided by organ, site, "
                "site.<name>.organ and .scanner, partition.<name>.sites, reference.<organ>.path, and by cohort.train, "
                "cohort.validation, cohort.test (of a site), cohort.external (of one that only evaluates), "
                "cohort.reference (of each of three parts), cohort.slices, cohort.tumour_share and cohort.seed"
            )
    organs = [item for item, key in keys.items() if key == "organ"]
    experiment = with_absolute_paths(compose([item for item in overrides if item not in organs]))
    if organs:
        _keep_organs(experiment, list(compose(["site=none", *organs]).reference))
    for item, key in keys.items():
        if not _has_effect(key, experiment):
            raise ConfigError(f"{item}: changes nothing: this cohort has nobody whom it is about")
    if not sum(demo_sizes(experiment).values()):
        raise ConfigError("there is no patient to make: cohort.train, cohort.reference and the others are 0")
    return experiment


def _keep_organs(experiment: Experiment, organs: Sequence[str]) -> None:
    had = {site.organ for site in experiment.site.values()}
    if had and (lacking := [organ for organ in organs if organ not in had]):
        raise ConfigError(f"organ={lacking[0]}: no site has it; choose sites that do, e.g. site={lacking[0]}")
    experiment.organs = {organ: one for organ, one in experiment.organs.items() if organ in organs}
    experiment.reference = {organ: one for organ, one in experiment.reference.items() if organ in organs}
    experiment.site = {name: site for name, site in experiment.site.items() if site.organ in organs}
    experiment.partition = {name: one for name, one in experiment.partition.items() if one.organ in organs}


def _has_effect(key: str, experiment: Experiment) -> bool:
    """Whether somebody is there whom a key with a name of its own is about."""
    section, _, name = key.partition(".")
    demo = [site for site in experiment.site.values() if site.path is None]
    match section:
        case "site" | "partition" if name:
            return name.partition(".")[0] in getattr(experiment, section)
        case "reference":
            return name.partition(".")[0] in experiment.reference
        case "cohort" if name == "external":
            return any(site.roles == ["evaluate"] for site in demo)
        case "cohort" if name in ("train", "validation", "test"):
            return any(site.roles != ["evaluate"] for site in demo)
        case "cohort" if name == "reference":
            return any(one.path is None for one in experiment.reference.values())
    return True
