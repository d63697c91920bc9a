"""Runs beside each other: what differs in their configurations, their figures, and folders that hold no run."""

import json
from pathlib import Path

import pytest
from classifier_scores import classifier_scores
from fabricated_generators import cgan

from common.metrics.bootstrap import Estimate
from common.results.classifier import ClassifierScores
from common.results.study import Results
from simulation.cli import main

CONFIG = """\
name: {name}
seed: {seed}
strategy:
  name: fedavg
  quorum: 2
organs:
  brain:
    contrasts: [flair]
"""


def arm(mean: float, *, bounds: bool = True) -> ClassifierScores:
    interval = Estimate(value=mean, low=mean - 0.05, high=mean + 0.05) if bounds else Estimate(value=mean)
    return classifier_scores(accuracy=interval, precision=interval, recall=interval, f1=interval, auc=interval)


def write_run(folder: Path, *, seed: int, more: str = "", finished: bool = True, generator: bool = True) -> Path:
    folder.mkdir()
    (folder / "config.yaml").write_text(CONFIG.format(name=folder.name, seed=seed) + more)
    results = Results.model_validate(
        {
            "run": {
                "name": folder.name,
                "seed": seed,
                "engine": "in_process",
                "started": "2030-01-31T12:00:00+00:00",
                "finished": "2030-01-31T12:10:00+00:00" if finished else None,
            },
            "gans": {"cgan": cgan()} if generator else {},
            "arms": {"federated": {"real": arm(0.7 + seed / 100), "blob": arm(0.8, bounds=False)}},
            "organ_arms": {"brain": {"real": arm(0.9)}},
            "timings": {"hello": 1.5, "local_arms": 60.0 * seed} if finished else {"hello": 1.5},
        }
    )
    (folder / "results.json").write_text(results.model_dump_json(by_alias=True))
    return folder


def said(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_:
        main(["compare", *arguments])
    out, err = capsys.readouterr()
    return int(exit_.value.code or 0), out, err


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    write_run(tmp_path / "one", seed=1)
    write_run(tmp_path / "two", seed=2, more="privacy:\n  epsilon: 8.0\n")
    monkeypatch.chdir(tmp_path)
    return ["one", "two"]


def row(text: str, name: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith(f"  {name} ")]
    return [cell.strip() for cell in line.removeprefix(f"  {name} ").split("|")]


def test_only_keys_that_differ_are_shown_and_a_missing_one_is_a_dash(
    two: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = said(two, capsys)
    assert code == 0
    assert row(out, "seed") == ["1", "2"]
    assert row(out, "privacy.epsilon") == ["–", "8.0"]
    configuration = out.split("configuration, where it differs\n")[1].split("\n\n")[0]
    assert len(configuration.splitlines()) == 2


def test_figures_stand_side_by_side_with_their_intervals(two: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = said(two, capsys)
    assert row(out, "in federation, real only: accuracy") == ["71.0 % (66.0 to 76.0)", "72.0 % (67.0 to 77.0)"]
    assert row(out, "in federation, real + blob: AUC") == ["0.800 (no interval)"] * 2
    assert row(out, "in federation, brain, real only: AUC") == ["0.900 (0.850 to 0.950)"] * 2
    final = cgan().final["brain"]
    assert row(out, f"cgan, brain: {final['frechet'].name}, n") == [str(final["frechet"].n)] * 2
    assert row(out, "hello") == ["1.5 s", "1.5 s"]
    assert row(out, "in all") == ["61.5 s", "2 min 2 s"]


def test_json_holds_every_figure_by_run(two: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said([*two, "--json"], capsys)
    tree = json.loads(out)
    assert code == 0
    assert list(tree) == ["runs", "configuration", "versions", "generators", "arms", "contributors", "durations"]
    assert tree["configuration"] == {"seed": {"one": 1, "two": 2}, "privacy.epsilon": {"two": 8.0}}
    # Recall is not printed, and is here.
    recall = tree["arms"]["in federation, real only: recall"]["one"]
    assert recall == {"value": 0.71, "low": pytest.approx(0.66), "high": pytest.approx(0.76)}
    assert tree["durations"]["in all"] == {"one": 61.5, "two": 121.5}
    assert tree["generators"]["cgan, brain: SSIM"]["one"] == tree["generators"]["cgan, brain: SSIM"]["two"]


def test_a_run_that_has_not_ended_has_dashes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = write_run(tmp_path / "one", seed=1)
    two = write_run(tmp_path / "two", seed=1, finished=False, generator=False)
    three = write_run(tmp_path / "three", seed=1, finished=False, generator=False)
    code, out, _ = said([str(one), str(two)], capsys)
    assert code == 0
    assert row(out, "finished") == ["2030-01-31 12:10 UTC", "not finished"]
    assert "the same in all runs" in out
    assert row(out, "local arms") == ["60.0 s", "–"]
    assert row(out, "cgan, brain: SSIM")[1] == "–"
    _, out, _ = said([str(two), str(three)], capsys)
    assert "no final scores" in out


def test_what_is_no_run_is_named(two: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(["one", "nowhere"], capsys)[::2] == (
        2,
        "error: nowhere: there is no run (no config.yaml in it); give the folder of one, e.g. runs/latest\n",
    )
    for alone in (["one"], ["one", "one"], ["one", str(tmp_path / "one")]):
        code, _, err = said(alone, capsys)
        assert code == 2
        assert err.startswith("error: give two different runs or more")
    (tmp_path / "two" / "config.yaml").write_text("- a\n- list\n")
    assert "two/config.yaml: holds no configuration" in said(two, capsys)[2]
    (tmp_path / "two" / "config.yaml").write_text("a: [1\n")
    code, _, err = said(two, capsys)
    assert code == 2
    assert "two/config.yaml: cannot be read (" in err


def test_a_run_without_results_says_so(two: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "two" / "results.json").unlink()
    code, _, err = said(two, capsys)
    assert code == 1
    assert "two/results.json: no results there" in err


def test_runs_whose_classifiers_other_sites_trained_are_told_apart(
    two: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for folder, sites in zip(two, ({"a": 4, "b": 4}, {"a": 4, "b": 1}), strict=True):
        file = Path(folder) / "results.json"
        results = json.loads(file.read_text())
        trial = {"name": "", "images": "", "run": 1, "fold": 0, "patients": 0, "ratio": 0.0}
        results["trials"] = [{**trial, "contributors": {"real": sites, "blob": {"a": 4}}}]
        file.write_text(json.dumps(results))
    code, out, _ = said([*two, "--json"], capsys)
    assert code == 0
    assert json.loads(out)["contributors"] == {
        "classifier, real only": {two[0]: "a and b", two[1]: "a and b (in 1 of 4 rounds)"}
    }


def test_runs_of_other_versions_are_told_apart(two: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    versions = ({"oncofed": "0.1.0", "torch": "2.14.0"}, {"oncofed": "0.1.0", "torch": "2.14.1", "opacus": "1.6"})
    for folder, of_run in zip(two, versions, strict=True):
        file = Path(folder) / "results.json"
        results = json.loads(file.read_text())
        results["run"]["versions"] = of_run
        file.write_text(json.dumps(results))
    _, out, _ = said(two, capsys)
    assert row(out, "torch") == ["2.14.0", "2.14.1"]
    assert row(out, "opacus") == ["–", "1.6"]
    assert "  oncofed " not in out
    _, out, _ = said([*two, "--json"], capsys)
    assert json.loads(out)["versions"] == {
        "torch": {"one": "2.14.0", "two": "2.14.1"},
        "opacus": {"two": "1.6"},
    }


def test_a_run_that_was_gone_on_with_in_another_version_and_runs_that_tell_none_are_not_called_the_same(
    two: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, _ = said(two, capsys)
    assert row(out, "oncofed") == ["–", "–"]
    for folder in two:
        file = Path(folder) / "results.json"
        results = json.loads(file.read_text())
        results["run"]["versions"] = {"oncofed": "0.1.0", "torch": "2.8.0, then 2.9.1"}
        file.write_text(json.dumps(results))
    _, out, _ = said(two, capsys)
    assert row(out, "torch") == ["2.8.0, then 2.9.1"] * 2
    assert "  oncofed " not in out
