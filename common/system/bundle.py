"""The Flower app bundle: what a SuperLink hands to SuperNodes is built from exactly the installed release.

A bundle carries only source and configuration; templates and weights stay behind, so the apps must not need them.
"""

import shutil
from importlib.resources import files
from pathlib import Path

PACKAGES = ("client", "common", "configs", "server")
SUFFIXES = (".py", ".yaml")


def stage_bundle(folder: Path) -> Path:
    """Copies the release into ``folder`` as a Flower app, ready for ``flwr build`` or ``flwr run``.

    Args:
        folder: must not exist yet, so that nothing else can slip into the bundle.

    Raises:
        FileExistsError: if it does.
    """
    folder.mkdir(parents=True)
    for package in PACKAGES:
        source = Path(str(files(package)))
        for file in sorted(source.rglob("*")):
            if file.suffix in SUFFIXES and "__pycache__" not in file.parts:
                target = folder / package / file.relative_to(source)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target)
    shutil.copyfile(Path(str(files("common"))) / "app_bundle.toml", folder / "pyproject.toml")
    return folder
