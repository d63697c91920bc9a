"""The same apps on Ray: the same seed gives the same weights as one site after another in one process."""

from pathlib import Path

import pytest
from tiny import TinyStudy

from simulation.run import run


@pytest.mark.slow
def test_ray_and_the_in_process_grid_train_the_same_weights(tiny_study: TinyStudy, tmp_path: Path) -> None:
    quick = ("study.arms=[real,blob]", "strategy=fedprox")
    here = run(tiny_study.with_output(tmp_path, *quick, "name=here"))
    there = run(tiny_study.with_output(tmp_path, *quick, "name=there", "simulation.engine=ray"))
    files = [file.relative_to(here) for file in sorted((here / "checkpoints").rglob("*.safetensors"))]
    assert len(files) >= 3
    assert [file for file in files if (here / file).read_bytes() != (there / file).read_bytes()] == []
