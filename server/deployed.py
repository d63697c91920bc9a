"""The study between institutions: what surrounds it when Flower's SuperLink runs the ServerApp."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from flwr.app import Context
from flwr.serverapp import Grid

from common.errors import OncofedError
from server.progress_log import ProgressLog
from server.returning import ReturningGrid
from server.settings import StudySettings, settings_from_run_config
from server.shut_out import ShutOut


@contextmanager
def deployed(grid: Grid, context: Context) -> Iterator[tuple[Grid, StudySettings]]:
    """The grid and the settings of a run that ``flwr run`` started; how it ends is written into its progress.

    Raises:
        ConfigError: if the run config does not describe a study.
    """
    settings = settings_from_run_config(context)
    progress = ProgressLog(settings.run_dir)
    progress.write("began", flower_run=str(context.run_id))
    try:
        patience = settings.experiment.strategy.returning
        gone = ShutOut(settings.registry)
        yield ReturningGrid(grid, patience=patience, shut_out=gone), replace(settings, progress=progress)
    except OncofedError as error:
        progress.write("failed", reason=str(error))
        raise
    except Exception as error:
        logging.getLogger("oncofed.server").exception("failed")
        progress.write("failed", reason=f"something unexpected ({type(error).__name__}); the server's output has it")
        raise
    progress.write("finished")
