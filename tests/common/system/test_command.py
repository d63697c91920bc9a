"""Exit codes, and the check that our package names are ours."""

import importlib.machinery
import importlib.util
from pathlib import Path

import pytest

from common.errors import ConfigError, DataError, StudyError
from common.system.command import check_installation, run_command


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("a"), 2),
        (DataError("a"), 3),
        (StudyError("a"), 4),
        (KeyboardInterrupt(), 130),
        (ValueError("a"), 1),
    ],
)
def test_each_kind_of_error_has_its_exit_code(
    error: BaseException, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise error

    assert run_command(fail) == code
    assert ("Traceback" in capsys.readouterr().err) == (code == 1)


def test_a_command_that_succeeds_returns_nothing_to_complain_about() -> None:
    assert run_command(lambda: None) == 0


def test_a_foreign_package_under_one_of_our_names_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = importlib.util.find_spec

    def find(name: str) -> importlib.machinery.ModuleSpec | None:
        if name == "server":
            return importlib.machinery.ModuleSpec(name, None, origin=str(tmp_path / "server" / "__init__.py"))
        return real(name)

    check_installation()
    monkeypatch.setattr(importlib.util, "find_spec", find)
    with pytest.raises(ConfigError, match="server"):
        check_installation()


def test_a_package_that_is_not_installed_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> None:
        raise ModuleNotFoundError("No module named 'pylidc'", name="pylidc")

    assert run_command(command) == 1
    told = capsys.readouterr().err
    assert "Traceback" in told
    assert told.splitlines()[-1].startswith("error: the Python package 'pylidc' is not installed here: install oncofed")
