"""The lock of a run's folder: held by the process in which the study runs, and looked at by everyone else."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from common.errors import StudyError
from common.system.file_lock import is_held, locked
from common.system.private_files import make_private_folder

LOCK = "run.lock"


@contextmanager
def alone_in(run_dir: Path, patience: float = 20.0) -> Iterator[None]:
    """Keeps every other process out of a run: two would write one set of checkpoints, and sites would pay twice.

    Args:
        patience: seconds in which a process that was told to end may do so.

    Raises:
        StudyError: if another works on it.
    """
    make_private_folder(run_dir)
    end = time.monotonic() + patience
    with ExitStack() as held:
        while True:
            try:
                held.enter_context(locked(run_dir / LOCK, wait=False))
                break
            except BlockingIOError as error:
                if time.monotonic() >= end:
                    raise StudyError(
                        f"{run_dir}: another process works on this run; stop it, or wait until it has ended"
                    ) from error
                time.sleep(0.2)
        yield


def is_running(run_dir: Path) -> bool:
    """Whether a process of this machine works on a run."""
    return is_held(run_dir / LOCK)
