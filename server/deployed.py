"""The study between institutions: what surrounds it when Flower's SuperLink runs the ServerApp."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flwr.app import Context
from flwr.serverapp import Grid

from common.errors import ConfigError
from server.progress_log import recorded
from server.provision.question_key import read_question_key
from server.returning import ReturningGrid
from server.settings import StudySettings, settings_from_run_config
from server.shut_out import ShutOut
from server.signing import SigningGrid
from server.wary_grid import WaryGrid


@contextmanager
def deployed(grid: Grid, context: Context) -> Iterator[tuple[Grid, StudySettings]]:
    """The grid and the settings of a run that ``flwr run`` started; how it ends is written into its progress.

    Raises:
        ConfigError: if the run config does not describe a study.
    """
    settings = settings_from_run_config(context)
    with recorded(settings.run_dir, flower_run=str(context.run_id)) as progress:
        key = _question_key(context)
        patience = settings.experiment.strategy.returning
        signing = SigningGrid(WaryGrid(grid), key)
        gone = ShutOut(settings.registry)
        yield ReturningGrid(signing, patience=patience, shut_out=gone), replace(settings, progress=progress)


def _question_key(context: Context) -> Ed25519PrivateKey:
    file = str(context.run_config.get("question-key", ""))
    if not file:
        raise ConfigError(
            "run config: question-key must name the key with which questions are signed, questions.key in the folder "
            "that oncofed-server provision made; hospitals answer no others"
        )
    return read_question_key(Path(file))
