"""Files of weights are the same from a run's first round to its last: they decide what networks start from, and what
figures are measured with."""

import hashlib
from pathlib import Path

from common.errors import WeightsError
from common.study.weights import needed_weights, resolve_weights
from common.system.files import read_table, write_json
from server.settings import StudySettings

WEIGHTS = Path("checkpoints", "weights.json")


def require_weights_as_begun(settings: StudySettings) -> None:
    """Writes down which files a run begins with (their SHA-256), or compares with what is written down.

    Raises:
        WeightsError: naming the file that is another, or cannot be used.
    """
    experiment, file = settings.experiment, settings.run_dir / WEIGHTS
    found = resolve_weights(experiment.weights, needed_weights(experiment))
    now = {name: _digest(path) for name, path in found.items()}
    if not file.exists():
        write_json(file, now)
        return
    begun = read_table(file)
    for name, path in found.items():
        if begun.get(name) != now[name]:
            raise WeightsError(
                f"weights.{name}={path}: is another file than the one that this run began with; put that one back, or "
                "start a new run"
            )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
