"""Paths of a study: found by how their fields are marked, made independent of the folder in which a command was given,
and looked at before anything is written."""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from common.errors import ConfigError, DataError
from common.study.experiment import Experiment
from common.system.paths import PLACE, Use, expanded, unusable

DOWNLOAD = "download"
"""Stands in place of a path where weights are to be fetched."""


@dataclass(frozen=True)
class StudyPath:
    """One path that a study names.

    Attributes:
        key: as it is written on the command line, e.g. ``site.hospital1.path``.
        section, field: where it stands.
        use: what it is for.
    """

    key: str
    section: Any
    field: str
    use: Use

    @property
    def value(self) -> str:
        return str(getattr(self.section, self.field))


def paths_of(section: Any, prefix: str = "") -> Iterator[StudyPath]:
    """Every path below a section of an experiment; those that are null or to be downloaded are left out."""
    if isinstance(section, dict):
        for name, entry in section.items():
            yield from paths_of(entry, f"{prefix}{name}.")
    elif is_dataclass(section):
        for one in fields(section):
            value = getattr(section, one.name)
            if PLACE not in one.metadata:
                yield from paths_of(value, f"{prefix}{one.name}.")
            elif value not in (None, DOWNLOAD):
                yield StudyPath(f"{prefix}{one.name}", section, one.name, one.metadata[PLACE])


def _all_paths(experiment: Experiment) -> Iterator[StudyPath]:
    """Those of partitions first: the sites that share one have its path, and nobody wrote it there."""
    yield from paths_of(experiment.partition, "partition.")
    yield from paths_of(experiment)


def with_absolute_paths(experiment: Experiment) -> Experiment:
    """The same experiment with every path made absolute: a run may be resumed from another folder.

    Raises:
        ConfigError: for what can be no path, naming the key.
    """
    made = deepcopy(experiment)
    for path in _all_paths(made):
        try:
            setattr(path.section, path.field, str(expanded(path.value).resolve()))
        except (ValueError, OSError, RuntimeError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            raise ConfigError(f"{path.key}={path.value!r}: {reason}") from error
    return made


def require_usable_paths(experiment: Experiment) -> None:
    """Refuses paths that cannot be read from or written to, before anything is made.

    Args:
        experiment: with absolute paths.

    Raises:
        ConfigError: naming the key and what is wrong.
        DataError: if a folder of data is not there.
    """
    for path in _all_paths(experiment):
        problem = unusable(Path(path.value), path.use)
        if not problem or (path.use is Use.FILE and problem.startswith("there is no")):
            continue  # Whether a study needs a file of weights, common.study.weights knows.
        if path.use is Use.DATA and problem.startswith("there is no"):
            raise DataError(f"{path.key}={path.value}: {problem}; name the folder that holds the data")
        raise ConfigError(f"{path.key}={path.value}: {problem}; name another one")
