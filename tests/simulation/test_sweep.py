"""A sweep: which runs it makes, that it goes on where it stopped, and what its table and plot hold."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tiny import TinyStudy

from common.errors import ConfigError
from simulation import sweep as module
from simulation.sweep import Axis, Point, overrides_of, split_axes, summarised, sweep


@pytest.fixture
def short(tiny_study: TinyStudy, tmp_path: Path) -> list[str]:
    return tiny_study.with_output(
        tmp_path, "study.arms=[real]", "federation.rounds=1", "classifier.federation.rounds=1"
    )


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_values_inside_brackets_are_one_value() -> None:
    fixed, axes = split_axes(["model=[a,b]", "x={a: 1, b: 2}", "seed=1,2", "privacy.epsilon=3,none", "name='a,b'"])
    assert fixed == ["model=[a,b]", "x={a: 1, b: 2}", "name='a,b'"]
    assert axes == [Axis("seed", ("1", "2")), Axis("privacy.epsilon", ("3", "none"))]


def test_no_epsilon_means_no_privacy_whatever_else_was_said() -> None:
    assert overrides_of(["privacy=patient_dp", "a=1"], {"privacy.epsilon": "none"}) == ["a=1", "privacy=none"]


def test_means_are_over_seeds_and_a_single_run_has_no_deviation() -> None:
    axes = [Axis("a", ("1", "2")), Axis("seed", ("1", "2"))]
    points = [
        Point({"a": "1", "seed": "1"}, {"f": 1.0}),
        Point({"a": "1", "seed": "2"}, {"f": 3.0}),
        Point({"a": "2", "seed": "1"}, {"f": 5.0}),
    ]
    first, second = summarised(axes, points)
    assert (first["a"], first["mean"], first["runs"]) == ("1", 2.0, 2)
    assert first["deviation"] == pytest.approx(2**0.5)
    assert (second["mean"], second["deviation"], second["runs"]) == (5.0, None, 1)


@pytest.mark.slow
def test_a_sweep_runs_each_combination_once_and_goes_on(
    short: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[list[str]] = []
    real = module.run

    def counted(overrides: list[str]) -> Any:
        calls.append(overrides)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(overrides)

    monkeypatch.setattr(module, "run", counted)
    wanted = [*short, "privacy.epsilon=8,none"]
    with pytest.raises(KeyboardInterrupt):
        sweep(wanted, "two")
    folder = sweep(wanted, "two")
    assert len(calls) == 3
    assert folder == (tmp_path / "runs" / "two").resolve()
    lines = rows(folder / "sweep.csv")
    assert [line["privacy.epsilon"] for line in lines] == ["8", "none"]
    assert float(lines[0]["epsilon, largest of a site"]) <= 8.0
    assert lines[1]["epsilon, largest of a site"] == ""
    summary = json.loads((folder / "summary.json").read_text())
    names = {row["figure"] for row in summary}
    assert {"classifier, real: accuracy", "cgan, brain: FD-EffLite0"} <= names
    with Image.open(folder / "sweep.png") as picture:
        assert picture.width > 1000
        assert len(picture.convert("L").getcolors(256) or []) > 20
    with pytest.raises(ConfigError, match="holds another sweep"):
        sweep([*short, "seed=1,2"], "two")


def test_what_cannot_be_swept_is_said_before_the_first_run(short: list[str]) -> None:
    with pytest.raises(ConfigError, match="nothing varies"):
        sweep(short, "none")
    with pytest.raises(ConfigError, match=r"privacy\.epsilon=-1"):
        sweep([*short, "privacy.epsilon=8,-1"], "wrong")
