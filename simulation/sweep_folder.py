"""The folder of a sweep: whose it is, and which runs lie in it."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.errors import ConfigError
from common.system.disk import writable
from common.system.files import read_table, write_json
from common.system.private_files import make_private_folder
from simulation.sweep_axes import PlannedRun

STATE = "sweep.json"


def claim(folder: Path, overrides: Sequence[str], runs: Sequence[PlannedRun]) -> None:
    """Makes the folder, or finds the same sweep in it.

    Raises:
        ConfigError: if another sweep or something else is there, or the same overrides mean something else now.
    """
    state = folder / STATE
    wanted = _described(overrides, runs)
    if state.exists():
        _require_same(folder, read_table(state), wanted)
    elif folder.exists() or folder.is_symlink():
        raise ConfigError(f"{folder}: is there already and no sweep; give another --name")
    else:
        with writable("simulation.runs_dir=", folder.parent):
            make_private_folder(folder)
        write_json(state, wanted)


def clear_unbegun(target: Path) -> None:
    """Removes what is left of a run that died before it had kept its configuration: it would take the run's number."""
    if target.exists():
        shutil.rmtree(target)


def _described(overrides: Sequence[str], runs: Sequence[PlannedRun]) -> dict[str, Any]:
    return {
        "overrides": list(overrides),
        "runs": {
            one.number: {"values": dict(one.values), "overrides": list(one.overrides), "configuration": one.digest}
            for one in runs
        },
    }


def _require_same(folder: Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    if "runs" not in found:
        raise ConfigError(
            f"{folder}: holds a sweep of an earlier version, whose runs' folders may stand for two values at once; it "
            "stays as it is, and does not go on; give another --name"
        )
    if found.get("overrides") != wanted["overrides"]:
        raise ConfigError(f"{folder}: holds another sweep; give this one another --name")
    if found["runs"] != wanted["runs"]:
        raise ConfigError(
            f"{folder}: its runs began with another configuration than the same overrides make now: a path may be "
            "relative to another folder, or this version of oncofed have other defaults; give another --name"
        )
