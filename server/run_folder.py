"""The folder of a run: made once, found again to resume, withdrawn if the study could not even start."""

import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from common.errors import ConfigError
from common.study.config import read_experiment, to_yaml
from common.study.experiment import Experiment
from common.system.disk import writable
from common.system.files import write_bytes
from common.system.outside import printable, quoted
from common.system.private_files import make_private_folder
from server.begun_configuration import require_configuration_as_begun

LATEST = "latest"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,89}")
"""A message's run may have ten characters more, for the number of a name that is taken."""


def require_run_name(name: str, key: str = "name=") -> None:
    """
    Args:
        name: of a run, which becomes a folder's and stands in every message.
        key: what was written before it, e.g. ``--name ``.

    Raises:
        ConfigError: if it cannot be one.
    """
    if not _NAME.fullmatch(name) or name == LATEST:
        raise ConfigError(
            f"{key}{printable(name) or quoted(name)}: a run's name is that of a folder: 1 to 90 letters (a to z), "
            f"digits, dots, dashes and underscores, a letter or digit first, and not {LATEST}"
        )


@dataclass(frozen=True)
class RunFolder:
    """``runs/<name>`` and the configuration of the run in it.

    Attributes:
        path: the folder, absolute.
        experiment: what runs there.
        resumed: whether it was there before.
    """

    path: Path
    experiment: Experiment
    resumed: bool
    _previous_latest: str | None = None

    @classmethod
    def new(cls, experiment: Experiment) -> "RunFolder":
        """A fresh folder under ``simulation.runs_dir``; a name that is taken gets a number. ``latest`` points to it.

        Raises:
            ConfigError: if the name cannot be a folder's, or nothing can be made there.
        """
        require_run_name(experiment.name)
        runs = Path(experiment.simulation.runs_dir).resolve()
        with writable("simulation.runs_dir=", runs):
            make_private_folder(runs)
        latest = runs / LATEST
        if latest.exists() and not latest.is_symlink():
            raise ConfigError(
                f"{latest}: must be the link to the newest run, and is something else; rename it, or choose another "
                "simulation.runs_dir"
            )
        path, number = runs / experiment.name, 1
        while True:
            try:
                with writable("simulation.runs_dir=", runs):
                    path.mkdir(mode=0o700)
                break
            except FileExistsError:
                number += 1
                path = runs / f"{experiment.name}-{number}"
        previous = str(latest.readlink()) if latest.is_symlink() else None
        made = cls(path, experiment, resumed=False, _previous_latest=previous)
        with made.withdrawn_on_error():
            require_configuration_as_begun(path, experiment)
            write_bytes(path / "config.yaml", to_yaml(experiment).encode())
            _point(latest, path.name)
        return made

    @classmethod
    def resume(cls, path: Path, overrides: list[str]) -> "RunFolder":
        """The folder of a run that was stopped.

        Where its files lie, and on what they are worked on, may be changed in its ``config.yaml``: a run may be moved.

        Raises:
            ConfigError: if there is no run, or something is to be changed in one that has begun.
        """
        folder = path.resolve()
        config = folder / "config.yaml"
        if not config.is_file():
            raise ConfigError(f"resume={path}: there is no run (no {config.name} in it); start one without resume=")
        if overrides:
            raise ConfigError(
                f"resume={path}: a run goes on as it began; leave out {' '.join(overrides)} or start a new run"
            )
        experiment = read_experiment(config)
        require_configuration_as_begun(folder, experiment)
        return cls(folder, experiment, resumed=True)

    @contextmanager
    def withdrawn_on_error(self) -> Iterator[None]:
        """If the block fails, a new folder is removed again, so that nothing half-made is taken for a run."""
        try:
            yield
        except BaseException:
            if not self.resumed:
                shutil.rmtree(self.path)
                self._point_back()
            raise

    def _point_back(self) -> None:
        """``latest`` is as it was before; where another run has begun since, it is that one's."""
        latest = self.path.parent / LATEST
        if not latest.is_symlink() or str(latest.readlink()) != self.path.name:
            return
        if self._previous_latest is not None and (self.path.parent / self._previous_latest).exists():
            _point(latest, self._previous_latest)
        else:
            latest.unlink(missing_ok=True)


def _point(link: Path, target: str) -> None:
    """Replaces a symbolic link in one step."""
    # A name of its own: two runs may begin at the same moment.
    temporary = link.with_name(f".{link.name}.{secrets.token_hex(4)}.partial")
    temporary.symlink_to(target)
    temporary.replace(link)
