"""``oncofed-server stop``: ends a study so that it can be resumed."""

import time
from pathlib import Path

from common.errors import ConfigError, StudyError
from common.system.outside import say
from server.operation.flower_home import FlowerHome
from server.operation.studies import study_meant
from server.operation.submit import require_server, stop
from server.progress_log import ProgressLog
from server.provision.federation import load_federation
from server.provision.provision import Places
from server.run_lock import is_running

ENDS_WITHIN = 60.0
"""Seconds that a study's process has to end once Flower was told."""


def stop_command(file: Path, places: Places, folder: Path | None) -> None:
    """Stops a study. What it finished stays, and it can be resumed."""
    study = study_meant(places, folder)
    if not is_running(study.folder):
        raise ConfigError(f"{study.folder}: this study does not run")
    home = FlowerHome(places, load_federation(file).serve.superlink)
    require_server(home, file)
    progress, reason = ProgressLog(study.folder), "stopped with oncofed-server stop"
    # Before the process ends, which cannot say so itself: who follows it may see its end first.
    progress.write("stopping", reason=reason)
    try:
        stop(home, study.flower_run)
    except StudyError:
        progress.write("goes_on")
        raise
    end = time.monotonic() + ENDS_WITHIN
    while is_running(study.folder) and time.monotonic() < end:
        time.sleep(0.2)
    progress.write("failed", reason=reason)
    say(f"stopped; go on with oncofed-server run {file} --resume {study.folder}")
