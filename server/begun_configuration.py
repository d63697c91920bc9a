"""The configuration is the same from a run's first message to its last."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from common.errors import ConfigError
from common.study.dotted_keys import flat
from common.study.experiment import Experiment
from common.study.experiment_paths import paths_of
from common.system.files import read_table, write_json
from common.system.outside import printable

BEGUN = Path("checkpoints", "configuration.json")

_MOVABLE = ("device", "prefetch", "compile")
"""Fields that say how a machine works, and change no figure."""

_MOST_TOLD = 5


def require_configuration_as_begun(run_dir: Path, experiment: Experiment) -> None:
    """Writes down what a run begins with, or compares with what is written down.

    Where its files lie, and on what they are worked on, may be another: a run may be moved.

    Raises:
        ConfigError: naming the keys that have changed.
        DamagedFileError: if what was written down cannot be read.
    """
    file, now = run_dir / BEGUN, _what_counts(experiment)
    if not file.exists():
        write_json(file, now)
        return
    # As they are once they were written: keys of mappings are texts there, and tuples are lists.
    begun, now = read_table(file), json.loads(json.dumps(now))
    changed = sorted(key for key in {*begun, *now} if begun.get(key) != now.get(key))
    if changed:
        told = ", ".join(f"{key}: {begun.get(key)}, now {now.get(key)}" for key in changed[:_MOST_TOLD])
        more = f", and {len(changed) - _MOST_TOLD} more" if len(changed) > _MOST_TOLD else ""
        raise ConfigError(
            f"{run_dir / 'config.yaml'}: a run goes on as it began, and this was changed since ({printable(told)}"
            f"{more}); put it back, or start a new run"
        )


def _what_counts(experiment: Experiment) -> dict[str, Any]:
    """Every value of a configuration by its full key, without what only says where a run works."""
    moved = {place.key for place in paths_of(experiment)}
    return {
        key: value
        for key, value in flat(asdict(experiment)).items()
        if not key.startswith("simulation.") and key not in moved and key.rpartition(".")[2] not in _MOVABLE
    }
