"""What a run was made with: the versions of the process that began it, and of each that went on with it."""

from pathlib import Path

from common.errors import DamagedFileError
from common.system.files import read_json, read_table, write_json
from common.system.versions import installed_versions

THEN = ", then "
"""Between versions that followed one another."""


def made_with(run_dir: Path) -> dict[str, str]:
    """Package -> version, and where a process with another one went on with the run, every version in turn:
    ``2.8.0, then 2.9.1``. A run that has ended is made by nobody any more.

    A run that an earlier release began counts as begun with what its results say.
    """
    file = run_dir / "checkpoints" / "versions.json"
    begun: list[dict[str, str]] = read_json(file) if file.exists() else _told(run_dir / "results.json")
    here = installed_versions()
    if not begun or (begun[-1] != here and not (run_dir / "checkpoints" / "finished.json").exists()):
        begun = [*begun, here]
    write_json(file, begun)
    names = dict.fromkeys(name for one in begun for name in one)
    return {name: THEN.join(dict.fromkeys(one.get(name, "not told") for one in begun)) for name in names}


def _told(results: Path) -> list[dict[str, str]]:
    """What results say that were written so far; nothing where they cannot be read: they are about to be replaced."""
    try:
        run = read_table(results).get("run")
    except (FileNotFoundError, DamagedFileError):
        return []
    versions = run.get("versions") if isinstance(run, dict) else None
    return [versions] if isinstance(versions, dict) and versions else []
