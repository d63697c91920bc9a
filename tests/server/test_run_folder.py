"""The folder of a run."""

from pathlib import Path

import pytest

from common.config import compose
from common.errors import ConfigError
from server.run_folder import RunFolder


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
