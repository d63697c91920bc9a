"""A run that was stopped, and goes on over a folder or a configuration that has changed meanwhile."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tiny import TinyStudy, write_patient, write_site

from common.system.array_files import read_arrays
from server.checkpoint import PhaseCheckpoints
from simulation.cli import main
from simulation.run import run

FRACTIONS = ("split.train=0.5", "split.validation=0", "split.test=0.5")
ROUNDS = ("federation.rounds=4", "study.arms=[real,real_synthetic]")
NEW = tuple(f"aa-new-{number}" for number in range(4))


class Stopped(BaseException):
    """As a kill, for everything that catches errors."""


def stop_after(monkeypatch: pytest.MonkeyPatch, rounds: int) -> None:
    """The next run dies when this round's weights and record are on the disk."""
    save = PhaseCheckpoints.save_round

    def dying(self: PhaseCheckpoints, server_round: int, *arguments: Any, **named: Any) -> None:
        save(self, server_round, *arguments, **named)
        if server_round == rounds and "gan" in self.folder.parts:
            monkeypatch.setattr(PhaseCheckpoints, "save_round", save)
            raise Stopped

    monkeypatch.setattr(PhaseCheckpoints, "save_round", dying)


@pytest.fixture
def stopped(tiny_study: TinyStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a run that died after the third round of four; the images of hospital1 may be changed."""
    write_site(tmp_path / "hospital1", 8, seed=1)
    shutil.copytree(tiny_study.root / "reference", tmp_path / "reference")
    places = (f"site.hospital1.path={tmp_path / 'hospital1'}", f"reference.brain.path={tmp_path / 'reference'}")
    stop_after(monkeypatch, 3)
    with pytest.raises(Stopped):
        run(tiny_study.with_output(tmp_path, *FRACTIONS, *ROUNDS, *places, "name=stopped"))
    return tmp_path / "runs" / "stopped"


def resumed(folder: Path, capsys: pytest.CaptureFixture[str], code: int = 0) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(["run", f"resume={folder}"])
    told = capsys.readouterr()
    said = told.err if code else told.out
    assert stop.value.code == code, said
    assert "Traceback" not in said
    return said


def learnt_and_tested(folder: Path) -> tuple[set[str], set[str]]:
    """Patients of hospital1 that synthetic images were learnt from, and those that its classifiers were tested on."""
    site = folder / "sites" / "hospital1"
    images = list((site / "state").rglob("images/*.npz"))
    kept = [read_arrays(file) for file in images]
    learnt = {str(name) for arrays in kept for name in arrays.get("learnt_from", ())}
    with (site / "results" / "predictions.csv").open(newline="") as file:
        return learnt, {row["patient"] for row in csv.DictReader(file)}


def figures(folder: Path) -> Any:
    """Everything that the study found, without times, notes and the run's own name."""

    def found(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: found(one) for key, one in value.items() if key not in ("seconds", "notes", "timings", "run")}
        return [found(one) for one in value] if isinstance(value, list) else value

    return found(json.loads((folder / "results.json").read_text()))


def put_in(folder: Path, old: str, new: str) -> None:
    """Edits the run's configuration by hand."""
    config = folder / "config.yaml"
    text = config.read_text()
    assert text.count(old) >= 1
    config.write_text(text.replace(old, new, 1))


def test_patients_who_came_meanwhile_change_nothing(
    stopped: Path, tiny_study: TinyStudy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = f"site.hospital1.path={tmp_path / 'hospital1'}"
    run(tiny_study.with_output(tmp_path, *FRACTIONS, *ROUNDS, data, "name=whole"))
    for number, name in enumerate(NEW):
        write_patient(tmp_path / "hospital1", name, tumour=True, seed=5000 + number)
    said = resumed(stopped, capsys)
    assert f"hospital1: patients that came after this run had begun take no part in it ({', '.join(NEW)})" in said
    learnt, tested = learnt_and_tested(stopped)
    assert len(learnt) == len(tested) == 4
    assert not learnt & tested
    assert not (learnt | tested) & set(NEW)
    assert figures(stopped) == figures(tmp_path / "runs" / "whole")


def test_a_patient_who_is_gone_is_named_and_put_back_the_run_goes_on(
    stopped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    patient, aside = tmp_path / "hospital1" / "case-1-02", tmp_path / "aside"
    patient.rename(aside)
    said = resumed(stopped, capsys, code=3)
    assert "hospital1: patients that this run began with are not there any more" in said
    assert "case-1-02" in said
    shutil.rmtree(tmp_path / "cache")
    shutil.copytree(aside, patient)
    resumed(stopped, capsys)
    assert (stopped / "report" / "index.html").is_file()


def test_an_edited_configuration_is_refused_by_its_key(stopped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put_in(stopped, "seed: 1\n", "seed: 2\n")
    said = resumed(stopped, capsys, code=2)
    assert f"{stopped / 'config.yaml'}: a run goes on as it began" in said
    assert "(seed: 1, now 2)" in said


def test_another_reference_set_is_refused(stopped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    selection = tmp_path / "reference" / "selection"
    one = sorted(selection.iterdir())[0]
    shutil.rmtree(one)
    said = resumed(stopped, capsys, code=3)
    assert f"{selection}: {one.name} not there any more" in said


def test_a_data_set_that_was_shared_out_stays_so(
    tiny_study: TinyStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_site(tmp_path / "data", 12, seed=1)
    shared = ("~site.hospital2", "~site.hospital3", "~site.hospital1")
    study = [item for item in tiny_study.overrides if not item.startswith("site.hospital")]
    partition = f"+partition.whole={{path: {data}, sites: 2}}"
    places = (f"simulation.runs_dir={tmp_path / 'runs'}", f"simulation.cache_dir={tmp_path / 'cache'}")
    stop_after(monkeypatch, 1)
    with pytest.raises(Stopped):
        run([*study, *shared, partition, *places, *FRACTIONS, "study.arms=[real]", "name=stopped"])
    folder = tmp_path / "runs" / "stopped"
    lists = {file: file.read_text() for file in folder.rglob("patients.txt")}
    assert len(lists) == 2
    for number, name in enumerate(NEW):
        write_patient(data, name, tumour=True, seed=5000 + number)
    resumed(folder, capsys)
    assert {file: file.read_text() for file in folder.rglob("patients.txt")} == lists
