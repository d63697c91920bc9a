"""The versions that a run was made with: of every process that went on with it, in turn."""

import json
from pathlib import Path

import pytest

from server import made_with as module
from server.made_with import made_with


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    versions = {"oncofed": "0.1.0", "torch": "2.8.0"}
    monkeypatch.setattr(module, "installed_versions", lambda: dict(versions))
    return versions


def test_a_run_that_goes_on_in_another_version_says_both(tmp_path: Path, installed: dict[str, str]) -> None:
    assert made_with(tmp_path) == made_with(tmp_path) == installed
    installed["torch"] = "2.9.1"
    assert made_with(tmp_path) == made_with(tmp_path) == {"oncofed": "0.1.0", "torch": "2.8.0, then 2.9.1"}


def test_a_run_of_an_earlier_release_began_with_what_its_results_say(tmp_path: Path, installed: dict[str, str]) -> None:
    (tmp_path / "results.json").write_text(json.dumps({"run": {"versions": {"torch": "2.7.0"}}}))
    assert made_with(tmp_path) == {"torch": "2.7.0, then 2.8.0", "oncofed": "not told, then 0.1.0"}


@pytest.mark.parametrize("text", ["", "[1]", '{"run": {}}', '{"run": {"versions": {}}}'])
def test_results_that_tell_none_are_passed_over(tmp_path: Path, installed: dict[str, str], text: str) -> None:
    (tmp_path / "results.json").write_text(text)
    assert made_with(tmp_path) == installed


def test_a_run_that_has_ended_is_made_by_nobody_any_more(tmp_path: Path, installed: dict[str, str]) -> None:
    began = made_with(tmp_path)
    (tmp_path / "checkpoints" / "finished.json").write_text("{}")
    installed["torch"] = "2.9.1"
    assert made_with(tmp_path) == began
