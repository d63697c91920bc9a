"""The wheel, built and installed as a user gets it, and used from an empty folder."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("client", "common", "configs", "server", "simulation")
UNPYTHONIC = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")


def run(*command: str | Path, folder: Path) -> str:
    """What a command prints, in an empty environment but for the machine's own settings."""
    environment = {key: value for key, value in os.environ.items() if key not in UNPYTHONIC}
    done = subprocess.run([str(part) for part in command], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def sources() -> set[str]:
    """Every file of the five packages, as it is named in a wheel."""
    found = (file for package in PACKAGES for file in (ROOT / package).rglob("*"))
    return {str(file.relative_to(ROOT)) for file in found if file.is_file() and "__pycache__" not in file.parts}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that nothing left over in the checkout can get in."""
    folder = tmp_path_factory.mktemp("build")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, folder / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "source")
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--disable-pip-version-check")
    run(sys.executable, "-m", "pip", "wheel", folder / "source", *options, "-w", folder / "dist", folder=folder)
    (built,) = (folder / "dist").iterdir()
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``bin`` of an environment with the wheel; what it needs is taken from the environment of the tests."""
    folder = tmp_path_factory.mktemp("installed") / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", folder, folder=folder.parent)
    python = folder / "bin" / "python"
    options = ("--no-deps", "--no-index", "--quiet", "--disable-pip-version-check")
    run(sys.executable, "-m", "pip", "--python", python, "install", *options, wheel, folder=folder.parent)
    (own,) = (folder / "lib").glob("python*/site-packages")
    # The .pth files in there are not read again, so the checkout that may be installed there stays out of sight.
    (own / "needed.pth").write_text(f"{sysconfig.get_paths()['purelib']}\n")
    return folder / "bin"


def test_it_holds_every_file_of_the_five_packages_and_nothing_else(wheel: Path) -> None:
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
        licence = [name for name in archive.namelist() if name.endswith("/LICENSE")]
    assert inside == sources()
    assert len(licence) == 1


def test_the_three_commands_answer(installed: Path, tmp_path: Path) -> None:
    for name in ("oncofed-client", "oncofed-server", "oncofed-simulation"):
        assert f"usage: {name}" in run(installed / name, "-h", folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_study_is_composed_and_its_bundle_is_staged_from_the_installed_files(installed: Path, tmp_path: Path) -> None:
    said = run(
        installed / "python",
        "-c",
        "import json, common; from pathlib import Path; from common.system.bundle import stage_bundle; "
        "from common.study.config import compose; study = compose(['preset=demo']); "
        "print(json.dumps([study.name, common.__file__, str(stage_bundle(Path('app')))]))",
        folder=tmp_path,
    )
    name, where, app = json.loads(said.splitlines()[-1])
    assert name == "demo"
    assert Path(where).is_relative_to(installed.parent)
    staged = {str(file.relative_to(tmp_path / app)) for file in (tmp_path / app).rglob("*") if file.is_file()}
    shipped = {file for file in sources() if file.endswith((".py", ".yaml")) and not file.startswith("simulation/")}
    assert staged == shipped | {"pyproject.toml"}
