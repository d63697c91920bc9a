"""Every command speaks to a terminal whose letters are few: what it lacks is spelt out, and nothing ends for it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hospital import STUDY
from tiny import TinyStudy

from common.results.study import Results

PLAIN = {
    "no locale": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "ascii": {"PYTHONIOENCODING": "ascii"},
}
COMMANDS = ("oncofed-simulation", "oncofed-client", "oncofed-server")


def said(terminal: str, program: str, *options: str, folder: Path) -> tuple[int, str]:
    room = program.removeprefix("oncofed-")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("LC_", "LANG", "PYTHONUTF8"))}
    done = subprocess.run(
        [sys.executable, "-c", f"from {room}.cli import main; main()", *options],
        env={**environment, **PLAIN[terminal], "OMP_NUM_THREADS": "1", "COLUMNS": "100"},
        cwd=folder,
        capture_output=True,
        timeout=120,
    )
    told = (done.stdout + done.stderr).decode("latin-1")
    assert "Traceback" not in told, told
    assert "UnicodeEncodeError" not in told, told
    return done.returncode, told


@pytest.mark.parametrize("terminal", PLAIN)
def test_help_is_printed(terminal: str, tmp_path: Path) -> None:
    code, told = said(terminal, "oncofed-client", "init", "--help", folder=tmp_path)
    assert code == 0
    assert "--sha256 3f6c..." in told


@pytest.mark.parametrize("terminal", PLAIN)
def test_compare_prints_dashes_and_what_others_called_their_runs(terminal: str, tmp_path: Path) -> None:
    for name, more in (("one", ""), ("two", "note: Gößweinstein σ 日\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text(f"name: {name}\n{more}", encoding="utf-8")
        info = {"name": name, "seed": 1, "engine": "in_process", "started": "2030-01-31T12:00:00+00:00"}
        results = Results.model_validate({"run": info, "timings": {"hello": 1.0} if more else {}})
        (tmp_path / name / "results.json").write_bytes(results.model_dump_json(by_alias=True).encode())
    code, told = said(terminal, "oncofed-simulation", "compare", "one", "two", folder=tmp_path)
    assert code == 0
    wanted = "Gößweinstein ? ?" if terminal == "latin-1" else "Gossweinstein ? ?"
    assert f"- | {wanted}" in " ".join(told.split())
    assert "- | 1.0 s" in " ".join(told.split())


@pytest.mark.slow
@pytest.mark.parametrize("terminal", PLAIN)
def test_a_hospital_with_a_name_in_its_own_letters_reads_what_is_said(
    terminal: str, tiny_study: TinyStudy, tmp_path: Path
) -> None:
    home = tmp_path / "Göttingen"
    home.mkdir()
    (home / "site.yaml").write_text(
        f"name: hospital1\nreader: brats\norgan: brain\npath: {tiny_study.root / 'hospital1'}\nfolder: {home}\n",
        encoding="utf-8",
    )
    (home / "study.yaml").write_text(STUDY, encoding="utf-8")
    study = ("site.yaml", "--study", "study.yaml")
    for command, *options in (("prepare", *study), ("doctor", *study), ("status", "site.yaml"), ("audit", "site.yaml")):
        code, told = said(terminal, "oncofed-client", command, *options, folder=home)
        assert code in (0, 3), told
        assert "unexpected" not in told
    code, told = said(terminal, "oncofed-server", "status", "Göttingen.yaml", folder=home)
    assert code == 2
    assert "error: " in told
