"""Paths of a study that do not depend on the folder in which a command was given."""

from copy import deepcopy
from dataclasses import asdict
from pathlib import Path

from common.experiment import Experiment, WeightsConfig

DOWNLOAD = "download"
"""Stands in place of a path where weights are to be fetched."""


def with_absolute_paths(experiment: Experiment) -> Experiment:
    """The same experiment with every path made absolute: a run may be resumed from another folder."""

    def absolute(path: str | None) -> str | None:
        return path if path in (None, DOWNLOAD) else str(Path(str(path)).expanduser().resolve())

    made = deepcopy(experiment)
    for site in made.site.values():
        site.path = absolute(site.path)
    for partition in made.partition.values():
        partition.path = absolute(partition.path)
    for reference in made.reference.values():
        reference.path = absolute(reference.path)
    made.weights = WeightsConfig(**{name: absolute(path) for name, path in asdict(made.weights).items()})
    made.simulation.cache_dir = str(Path(made.simulation.cache_dir).expanduser().resolve())
    made.simulation.runs_dir = str(Path(made.simulation.runs_dir).expanduser().resolve())
    return made
