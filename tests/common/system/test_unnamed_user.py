"""Commands run for a user that the machine knows by number alone, without a home and without a name."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hospital import STUDY
from tiny import TinyStudy

ROOT = Path(__file__).parents[3]
UNKNOWN = 54321
PROBE = """
import getpass, os, sys
from pathlib import Path
from common.system.command import run_command

def command():
    import client.app, matplotlib.pyplot, monai, torch, flwr.simulation, torch._inductor.runtime.cache_dir_utils as own
    from flwr.supercore.telemetry import _get_source_id
    own.cache_dir()
    _get_source_id()
    print(getpass.getuser(), Path.home(), Path(matplotlib.get_configdir()).is_dir())

code = run_command(command)
print(code, os.environ["MPLCONFIGDIR"])
"""


def unknown(arguments: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a program as a user without an entry in the password file; skipped where that cannot be had.

    It keeps the right to read and write everything: what lies in another's home can be imported, and whatever is
    written to a place where it must not be is found there.
    """
    rights = "+dac_override,+dac_read_search"
    user = ["setpriv", f"--reuid={UNKNOWN}", f"--regid={UNKNOWN}", "--clear-groups"]
    command = [*user, f"--inh-caps={rights}", f"--ambient-caps={rights}"]
    try:
        tried = subprocess.run([*command, "true"], capture_output=True)
    except FileNotFoundError:
        pytest.skip("there is no setpriv here")
    if tried.returncode:
        pytest.skip("this user may not become another")
    given = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TMPDIR": str(folder)}
    return subprocess.run(
        [*command, *arguments], env={**given, **environment}, cwd=folder, capture_output=True, text=True, timeout=280
    )


@pytest.fixture
def everyones() -> Iterator[Path]:
    """A folder with a short path that every user may enter, as the one for temporary files is."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


def test_libraries_find_a_name_and_write_to_no_home(everyones: Path) -> None:
    told = unknown([sys.executable, "-c", PROBE], everyones)
    assert told.returncode == 0, told.stderr
    name, home, has_folder = told.stdout.splitlines()[0].split()
    assert (name, home, has_folder) == (f"user-{UNKNOWN}", "/nonexistent", "True")
    code, folder = told.stdout.splitlines()[1].split()
    assert code == "0"
    assert Path(folder).parent.parent == everyones
    # Nothing of it is left.
    assert list(everyones.glob("*oncofed*")) == []
    assert list(everyones.glob("*matplotlib*")) == []
    assert not Path("/nonexistent").exists()


def test_a_home_that_is_there_stays_and_is_used(everyones: Path) -> None:
    (everyones / "home").mkdir()
    (everyones / "home").chmod(0o777)
    probe = "import os; from common.system.command import run_command; run_command(lambda: None); print(os.environ)"
    told = unknown([sys.executable, "-c", probe], everyones, HOME=str(everyones / "home"), USER="ann")
    assert "'USER': 'ann'" in told.stdout
    assert "MPLCONFIGDIR" not in told.stdout


def test_a_path_in_a_home_that_is_not_there_is_refused_and_nothing_lost(tiny_study: TinyStudy, tmp_path: Path) -> None:
    own = [one for one in tiny_study.overrides if not one.startswith("reference.")]
    arguments = [*own, "reference.brain.path=~/reference"]
    told = unknown([sys.executable, "-m", "simulation.cli", "run", *arguments], tmp_path)
    assert told.returncode == 3, told.stderr
    assert "/nonexistent/reference" in told.stderr


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["in_process", "ray"])
def test_a_study_runs(engine: str, tiny_study: TinyStudy, tmp_path: Path, everyones: Path) -> None:
    quick = ("study.arms=[real]", "federation.rounds=1", "classifier.federation.rounds=1")
    arguments = tiny_study.with_output(tmp_path, *quick, f"simulation.engine={engine}")
    told = unknown([sys.executable, "-m", "simulation.cli", "run", *arguments], everyones)
    assert told.returncode == 0, told.stderr
    assert (tmp_path / "runs" / "latest" / "report" / "index.html").is_file()
    assert not Path("/nonexistent").exists()


@pytest.mark.slow
def test_a_hospital_prepares_and_is_examined(tiny_study: TinyStudy, tmp_path: Path) -> None:
    site = tmp_path / "site.yaml"
    data = tiny_study.root / "hospital1"
    site.write_text(f"name: hospital1\nreader: brats\norgan: brain\npath: {data}\nfolder: {tmp_path}\n")
    (tmp_path / "study.yaml").write_text(STUDY)
    for command in ("prepare", "doctor"):
        options = [str(site), "--study", str(tmp_path / "study.yaml")]
        told = unknown([sys.executable, "-c", "from client.cli import main; main()", command, *options], tmp_path)
        assert "Traceback" not in told.stderr, told.stderr
        assert told.returncode in (0, 3), told.stderr
    assert (tmp_path / "doctor" / "doctor.json").is_file()
    assert not Path("/nonexistent").exists()
