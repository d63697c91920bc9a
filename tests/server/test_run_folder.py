"""The folder of a run."""

import os
import subprocess
from pathlib import Path

import pytest

from common.command import run_command
from common.config import compose
from common.errors import ConfigError
from common.files import write_bytes, write_json
from server.progress_log import ProgressLog
from server.run_folder import RunFolder
from server.run_lock import alone_in


def test_a_taken_name_gets_a_number_and_latest_follows(tmp_path: Path) -> None:
    experiment = compose([f"simulation.runs_dir={tmp_path}", "name=study"])
    first, second = RunFolder.new(experiment), RunFolder.new(experiment)
    assert (first.path.name, second.path.name) == ("study", "study-2")
    assert (tmp_path / "latest").resolve() == second.path
    assert RunFolder.resume(tmp_path / "latest", []).experiment == experiment


def test_a_study_that_could_not_start_leaves_nothing_and_latest_as_it_was(tmp_path: Path) -> None:
    experiment = compose([f"simulation.runs_dir={tmp_path}", "name=study"])
    first = RunFolder.new(experiment)
    second = RunFolder.new(experiment)
    with pytest.raises(RuntimeError), second.withdrawn_on_error():
        raise RuntimeError
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest", "study"]
    assert (tmp_path / "latest").resolve() == first.path


def test_a_resumed_run_is_never_withdrawn(tmp_path: Path) -> None:
    first = RunFolder.new(compose([f"simulation.runs_dir={tmp_path}", "name=study"]))
    with pytest.raises(RuntimeError), RunFolder.resume(first.path, []).withdrawn_on_error():
        raise RuntimeError
    assert first.path.is_dir()


def test_a_begun_run_cannot_be_changed(tmp_path: Path) -> None:
    first = RunFolder.new(compose([f"simulation.runs_dir={tmp_path}"]))
    with pytest.raises(ConfigError, match="seed=2"):
        RunFolder.resume(first.path, ["seed=2"])


def test_a_run_and_what_lies_above_it_are_their_owners_alone(tmp_path: Path) -> None:
    """As a command makes them, and as the ServerApp makes the folder of a run that it is the first to write into."""
    before = os.umask(0o022)
    try:
        runs, others = tmp_path / "studies" / "runs", tmp_path / "others" / "runs" / "pilot"

        def command() -> None:
            made = RunFolder.new(compose([f"simulation.runs_dir={runs}", "name=study"]))
            write_json(made.path / "checkpoints" / "gan" / "result.json", {})
            write_bytes(made.path / "results.json", b"{}")
            write_bytes(made.path / "report" / "index.html", b"")
            ProgressLog(made.path).write("began")
            subprocess.run(["touch", made.path / "by-a-child"], check=True)
            with alone_in(made.path):
                pass

        assert run_command(command) == 0
        made = [runs.parent, runs, *(path for path in runs.rglob("*") if not path.is_symlink())]
        assert len(made) > 10
        assert {path.name: oct(path.stat().st_mode & 0o077) for path in made if path.stat().st_mode & 0o077} == {}
        ProgressLog(others).write("began")
        assert [path.stat().st_mode & 0o777 for path in (others, others.parent, others.parent.parent)] == [0o700] * 3
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)
