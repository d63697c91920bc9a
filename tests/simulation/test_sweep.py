"""A sweep: which runs it makes, that it goes on where it stopped, and what its table and plot hold."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from tiny import TinyStudy, write_site

from common.errors import ConfigError, DataError, DiskFullError, StudyError
from common.results.study import Results
from common.study.config import read_experiment
from common.study.experiment import Experiment
from server.run_folder import RunFolder
from server.run_lock import alone_in
from simulation import sweep as module
from simulation.sweep import sweep
from simulation.sweep_axes import Axis, overrides_of, planned_runs, split_axes
from simulation.sweep_plot import draw_sweep
from simulation.sweep_table import Outcome, summarised

Pretend = Callable[[dict[int, BaseException]], list[Path]]


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


def test_a_later_value_counts_and_one_after_several_is_refused() -> None:
    assert split_axes(["seed=5", "seed=1,2"])[1] == [Axis("seed", ("1", "2"))]
    for again in ("seed=5", "seed=3,4", "+seed=5"):
        with pytest.raises(ConfigError, match=r"^seed: is given again after several values"):
            split_axes(["seed=1,2", again])


def test_means_are_over_seeds_and_a_single_run_has_no_deviation() -> None:
    outcomes = [
        Outcome("001", {"a": "1", "seed": "1"}, {"f": 1.0}),
        Outcome("002", {"a": "1", "seed": "2"}, {"f": 3.0}),
        Outcome("003", {"a": "2", "seed": "1"}, {"f": 5.0}),
    ]
    first, second = summarised(["a", "seed"], outcomes)
    assert (first["a"], first["mean"], first["runs"]) == ("1", 2.0, 2)
    assert first["deviation"] == pytest.approx(2**0.5)
    assert (second["mean"], second["deviation"], second["runs"]) == (5.0, None, 1)


def test_a_failed_run_is_counted_beside_the_means_and_alone_has_a_row(tmp_path: Path) -> None:
    outcomes = [
        Outcome("001", {"a": "1", "seed": "1"}, {"f: accuracy": 1.0}),
        Outcome("002", {"a": "1", "seed": "2"}, failed="no"),
        Outcome("003", {"a": "/a/$x$/" + 300 * "b", "seed": "1"}, failed="no"),
    ]
    rows = summarised(["a", "seed"], outcomes)
    assert [(row["figure"], row["mean"], row["runs"], row["failed"]) for row in rows] == [
        ("f: accuracy", 1.0, 1, 1),
        ("", None, 0, 1),
    ]
    draw_sweep(["a"], rows, tmp_path / "sweep.png")
    with Image.open(tmp_path / "sweep.png") as picture:
        assert picture.width > 500


@pytest.mark.parametrize(
    "axis",
    [
        "seed=1,1",
        "seed=1,01",
        "strategy.name=fedavg,'fedavg'",
        "classifier.learning_rate=0.001,1e-3",
        "classifier.pretrained=false,False",
        "organs.brain.steps.window=[0,1],[0.0, 1]",
        "name=a,b",
        "simulation.cache_dir=a,b",
    ],
)
def test_values_that_make_one_study_are_refused_however_they_are_written(axis: str, short: list[str]) -> None:
    with pytest.raises(ConfigError, match="are the same study, which would count as two"):
        planned_runs(*split_axes([*short, axis]))


def test_two_ways_to_one_folder_are_one_study(short: list[str], tiny_study: TinyStudy) -> None:
    there = tiny_study.root / "hospital1"
    with pytest.raises(ConfigError, match="are the same study"):
        planned_runs(*split_axes([*short, f"site.hospital1.path={there},{there.parent}/./hospital1/"]))


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> Pretend:
    """Runs that are finished at once; the n-th attempt may fail instead."""

    def pretend(failures: dict[int, BaseException]) -> list[Path]:
        done: list[Path] = []

        def work(folder: RunFolder) -> Path:
            done.append(folder.path)
            if len(done) in failures:
                raise failures[len(done)]
            info = {"name": folder.path.name, "seed": folder.experiment.seed, "engine": "in_process", "started": "now"}
            results = Results.model_validate({"run": {**info, "finished": "now"}})
            results.timings = {"hello": 1.0}
            (folder.path / "results.json").write_text(results.model_dump_json(by_alias=True))
            return folder.path

        def begun(experiment: Experiment) -> Path:
            return work(RunFolder.new(experiment))

        monkeypatch.setattr(module, "begun", begun)
        monkeypatch.setattr(module, "resumed", lambda path, _: work(RunFolder.resume(path, [])))
        return done

    return pretend


def test_folders_that_read_alike_are_two_runs(short: list[str], tmp_path: Path, pretended: Pretend) -> None:
    folders = [write_site(tmp_path / name, 10, seed=1) for name in ("data-1", "data_1")]
    done = pretended({})
    folder = sweep([*short, f"site.hospital1.path={folders[0]},{folders[1]}"], "paths")
    assert done == [folder / "001", folder / "002"]
    assert [read_experiment(one / "config.yaml").site["hospital1"].path for one in done] == [str(f) for f in folders]
    lines = rows(folder / "sweep.csv")
    assert [(line["run"], line["site.hospital1.path"]) for line in lines] == [
        ("001", str(folders[0])),
        ("002", str(folders[1])),
    ]


def test_long_and_added_keys_make_short_names(short: list[str], tmp_path: Path, pretended: Pretend) -> None:
    done = pretended({})
    site = f"{{reader: brats, organ: brain, path: {tmp_path}, scanner: %s}}"
    write_site(tmp_path / "patients", 2, seed=1)
    folder = sweep([*short, f"+site.extra={site % ('a' * 200)},{site % 'b'}"], "plus")
    assert [one.name for one in done] == ["001", "002"]
    assert [read_experiment(one / "config.yaml").site["extra"].scanner for one in done] == ["a" * 200, "b"]
    assert rows(folder / "sweep.csv")[1]["site.extra"] == site % "b"


def test_a_run_that_fails_is_told_and_the_others_go_on(short: list[str], pretended: Pretend) -> None:
    done = pretended({2: StudyError("gan/cgan: too few sites"), 3: ZeroDivisionError("x")})
    wanted = [*short, "seed=1,2,3,4"]
    with pytest.raises(StudyError, match=r"2 of 4 runs failed \(002, 003\)"):
        sweep(wanted, "some")
    folder = done[0].parent
    assert [(line["run"], line["seed"], line["failed"]) for line in rows(folder / "sweep.csv")] == [
        ("001", "1", ""),
        ("002", "2", "gan/cgan: too few sites"),
        ("003", "3", "unexpected: ZeroDivisionError: x"),
        ("004", "4", ""),
    ]
    # The same command tries these again, and no other.
    assert sweep(wanted, "some") == folder
    assert [one.name for one in done] == ["001", "002", "003", "004", "002", "003"]
    assert {line["failed"] for line in rows(folder / "sweep.csv")} == {""}


def test_a_full_disk_ends_a_sweep_at_once(short: list[str], pretended: Pretend) -> None:
    done = pretended({1: DiskFullError("full")})
    with pytest.raises(DiskFullError):
        sweep([*short, "seed=1,2"], "full")
    assert len(done) == 1


def test_a_sweep_goes_on_only_as_it_began(short: list[str], tmp_path: Path, pretended: Pretend) -> None:
    done = pretended({2: KeyboardInterrupt()})
    wanted = [*short, "seed=1,2"]
    with pytest.raises(KeyboardInterrupt):
        sweep(wanted, "two")
    folder = tmp_path / "runs" / "two"
    # A process that dies at a bad moment leaves a folder that never was a run.
    (folder / "002" / "config.yaml").unlink()
    with pytest.raises(ConfigError, match="holds another sweep"):
        sweep([*short, "seed=1,2,3"], "two")
    assert sweep(wanted, "two") == folder.resolve()
    assert [one.name for one in done] == ["001", "002", "002"]
    state = json.loads((folder / "sweep.json").read_text())
    assert state["runs"]["002"]["values"] == {"seed": "2"}
    assert state["runs"]["002"]["overrides"] == [*short, "seed=2"]
    state["runs"]["002"]["configuration"] = "another"
    (folder / "sweep.json").write_text(json.dumps(state))
    with pytest.raises(ConfigError, match="began with another configuration"):
        sweep(wanted, "two")
    (folder / "sweep.json").write_text(json.dumps({"overrides": wanted}))
    with pytest.raises(ConfigError, match="of an earlier version"):
        sweep(wanted, "two")


def test_two_processes_never_work_on_one_sweep(
    short: list[str], tmp_path: Path, pretended: Pretend, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = pretended({})
    sweep([*short, "seed=1,2"], "two")
    monkeypatch.setattr(module, "alone_in", lambda folder: alone_in(folder, patience=0))
    with alone_in(tmp_path / "runs" / "two"), pytest.raises(StudyError, match="another process works"):
        sweep([*short, "seed=1,2"], "two")
    assert len(done) == 2


def test_a_sweep_that_goes_on_after_an_update_says_which_runs_were_made_with_what(
    short: list[str], pretended: Pretend, capsys: pytest.CaptureFixture[str]
) -> None:
    done = pretended({2: StudyError("stopped")})
    with pytest.raises(StudyError):
        sweep([*short, "seed=1,2,3"], "two")
    folder = done[0].parent
    assert "version of torch" not in rows(folder / "sweep.csv")[0]
    assert "not all runs were made with the same" not in capsys.readouterr().out
    for number, version in (("001", "2.8.0"), ("003", "2.9.1")):
        file = folder / number / "results.json"
        results = json.loads(file.read_text())
        results["run"]["versions"] = {"oncofed": "0.1.0", "torch": version}
        file.write_text(json.dumps(results))
    pretended({1: StudyError("stopped")})
    with pytest.raises(StudyError):
        sweep([*short, "seed=1,2,3"], "two")
    lines = rows(folder / "sweep.csv")
    assert [line["version of torch"] for line in lines] == ["2.8.0", "", "2.9.1"]
    assert "version of oncofed" not in lines[0]
    assert "not all runs were made with the same torch" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["..", "a/b", "latest", "", "-x", "a b", "a" * 91])
def test_a_sweep_has_the_name_of_a_folder(name: str, short: list[str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^--name "):
        sweep([*short, "seed=1,2"], name)
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_sweep_runs_each_combination_and_shows_it(short: list[str], tmp_path: Path) -> None:
    folder = sweep([*short, "privacy.epsilon=8,none"], "two")
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


def test_what_cannot_be_swept_is_said_before_the_first_run(short: list[str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing varies"):
        sweep(short, "none")
    with pytest.raises(ConfigError, match=r"privacy\.epsilon=-1"):
        sweep([*short, "privacy.epsilon=8,-1"], "wrong")
    with pytest.raises(DataError, match=r"site\.hospital1\.path=.*nowhere: there is no such folder"):
        sweep([*short, f"site.hospital1.path={tmp_path}/nowhere,{tmp_path}/neither"], "wrong")
    assert not (tmp_path / "runs").exists()
