"""A simulation on a disk that gets full ends with one sentence, and with room it ends as it would have without."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_disk import small_disk
from tiny import TinyStudy

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
QUICK = ("study.arms=[real]", "federation.rounds=2", "classifier.federation.rounds=1")


def ran(*arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-c", "from simulation.cli import main; main()", "run", *arguments]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=280)
    return done.returncode, done.stderr


def weights(run_dir: Path) -> dict[str, bytes]:
    files = sorted((run_dir / "checkpoints").rglob("*.safetensors"))
    return {str(file.relative_to(run_dir)): file.read_bytes() for file in files}


@pytest.mark.slow
def test_a_disk_that_gets_full_stops_a_study_and_changes_nothing_of_it(tiny_study: TinyStudy, tmp_path: Path) -> None:
    assert ran(*tiny_study.with_output(tmp_path, *QUICK, "name=whole"))[0] == 0
    whole = tmp_path / "runs" / "whole"
    size = sum(file.stat().st_size for file in whole.rglob("*") if file.is_file() and not file.is_symlink())
    cache = f"simulation.cache_dir={tmp_path / 'cache'}"
    for index, share in enumerate((0.2, 0.6)):
        with small_disk(tmp_path / f"disk{index}", f"{int(size * share) // 1024}k") as disk:
            runs = f"simulation.runs_dir={disk}"
            code, said = ran(*tiny_study.overrides, *QUICK, runs, cache, "name=full")
            assert code == 4, said
            assert said.startswith("error: ")
            assert ": the disk is full (" in said
            assert len(said.splitlines()) == 1
            assert list(disk.rglob("*.partial*")) == []
            subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True)
            assert ran(f"resume={disk / 'full'}")[0] == 0
            assert weights(disk / "full") == weights(whole)
