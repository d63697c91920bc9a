"""A run's name is bound to one configuration, from its first message on: later ones must carry the same.

Otherwise the mode could change from message to message: a generator tuned without noise in a run whose classifier is
private, which then learns from what the generator saw.
"""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from client.data.context import StudyContext
from client.data.work import WorkFolder
from common.errors import PrivacyError, RefusalError
from common.study.experiment import Experiment
from common.system.file_lock import locked
from common.system.files import read_json, write_json


def digest_of(experiment: Experiment) -> str:
    """SHA-256 of a resolved configuration, alike for every way to write it down."""
    return hashlib.sha256(json.dumps(asdict(experiment), sort_keys=True).encode()).hexdigest()


def require_bound(study: StudyContext, work: WorkFolder) -> None:
    """Binds a run to its configuration, or compares with what it was bound to.

    Raises:
        RefusalError: if the run began with another configuration. The text may leave.
        PrivacyError: if what was kept of it cannot be read.
    """
    file, digest = binding_file(work), digest_of(study.experiment)
    file.parent.mkdir(parents=True, exist_ok=True)
    with locked(file.with_suffix(".lock")):
        if not file.exists():
            write_json(file, {"configuration": digest, "private": study.private})
            return
        try:
            bound = read_json(file)["configuration"]
        except (ValueError, KeyError, TypeError) as error:
            raise PrivacyError(
                f"{file}: does not say which configuration this run began with; it was changed, or is damaged. Begin a "
                "new run"
            ) from error
    if bound != digest:
        raise RefusalError("this run began with another configuration; give the changed study a name of its own")


def binding_file(work: WorkFolder) -> Path:
    """Where a site keeps what its run is bound to."""
    return work.run_state / "binding.json"
