"""The folder of a run: made once, found again to resume, withdrawn if the study could not even start."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from common.config import read_experiment, to_yaml
from common.errors import ConfigError
from common.experiment import Experiment
from common.files import write_bytes
from common.private_files import make_private_folder

LATEST = "latest"


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
            ConfigError: if it cannot be made there.
        """
        runs = Path(experiment.simulation.runs_dir).resolve()
        try:
            return cls._made(experiment, runs)
        except OSError as error:
            raise ConfigError(
                f"simulation.runs_dir={runs}: no folder for the run can be made there "
                f"({error.strerror or error}); name another one"
            ) from error

    @classmethod
    def _made(cls, experiment: Experiment, runs: Path) -> "RunFolder":
        make_private_folder(runs)
        path, number = runs / experiment.name, 1
        while True:
            try:
                path.mkdir(mode=0o700)
                break
            except FileExistsError:
                number += 1
                path = runs / f"{experiment.name}-{number}"
        write_bytes(path / "config.yaml", to_yaml(experiment).encode())
        latest = runs / LATEST
        previous = str(latest.readlink()) if latest.is_symlink() else None
        _point(latest, path.name)
        return cls(path, experiment, resumed=False, _previous_latest=previous)

    @classmethod
    def resume(cls, path: Path, overrides: list[str]) -> "RunFolder":
        """The folder of a run that was stopped.

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
        return cls(folder, read_experiment(config), resumed=True)

    @contextmanager
    def withdrawn_on_error(self) -> Iterator[None]:
        """If the block fails, a new folder is removed again, so that nothing half-made is taken for a run."""
        try:
            yield
        except BaseException:
            if not self.resumed:
                shutil.rmtree(self.path)
                latest = self.path.parent / LATEST
                latest.unlink(missing_ok=True)
                if self._previous_latest is not None:
                    _point(latest, self._previous_latest)
            raise


def _point(link: Path, target: str) -> None:
    """Replaces a symbolic link in one step."""
    temporary = link.with_name(f".{link.name}.partial")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(link)
