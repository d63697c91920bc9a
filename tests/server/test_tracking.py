"""The event files of a run, as TensorBoard itself reads them."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from common.errors import DamagedFileError
from common.figures.figure import Figure, ImageScores
from server.checkpoint import PhaseCheckpoints
from server.round_record import RoundRecord
from server.tracking import FOLDER, write_tracking


def record(number: int, **parts: Any) -> RoundRecord:
    told = {"losses": {"l1": 1 / number}, "choice": 0.1 * number, "seconds": 3.0, **parts}
    return RoundRecord(round=number, contributors=["hospital1", "hospital2"], counted={}, norms=[0.5, 0.25], **told)


def finish(run: Path, phase: str, number: int, **parts: Any) -> None:
    PhaseCheckpoints(run, phase).save_round(number, {"w": torch.zeros(1)}, record(number, **parts))


def read(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return {tag: [(point.step, point.value) for point in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_every_round_of_every_phase_is_a_point(tmp_path: Path) -> None:
    figures = [Figure(metric="ssim", value=0.75), Figure(metric="frechet", value=12.5, references={"real": 8.0})]
    scores = {"brain": ImageScores(protocol="paired", figures=figures)}
    for number in (1, 2, 3):
        finish(tmp_path, "gan/cgan", number, scores=scores)
    finish(tmp_path, "gan/cgan/run-2", 1)
    finish(tmp_path, "classifier/real", 1, choice=None, losses={})
    assert write_tracking(tmp_path) == tmp_path / FOLDER
    gan = read(tmp_path / FOLDER / "gan" / "cgan")
    assert gan["loss/l1"] == [(1, 1.0), (2, 0.5), (3, pytest.approx(1 / 3))]
    assert gan["score/brain/ssim"] == [(n, 0.75) for n in (1, 2, 3)]
    assert gan["score/brain/frechet"] == [(n, 12.5) for n in (1, 2, 3)]
    assert gan["score/brain/frechet/real"] == [(n, 8.0) for n in (1, 2, 3)]
    assert gan["norm/hospital2"] == [(n, 0.25) for n in (1, 2, 3)]
    assert len(gan["choice"]) == len(gan["seconds"]) == 3
    assert set(read(tmp_path / FOLDER / "gan" / "cgan" / "run-2")) >= {"loss/l1", "seconds"}
    assert set(read(tmp_path / FOLDER / "classifier" / "real")) == {"norm/hospital1", "norm/hospital2", "seconds"}


def test_a_run_that_goes_on_has_no_point_twice(tmp_path: Path) -> None:
    finish(tmp_path, "gan/cgan", 1)
    write_tracking(tmp_path)
    finish(tmp_path, "gan/cgan", 2)
    write_tracking(tmp_path)
    write_tracking(tmp_path)
    folder = tmp_path / FOLDER / "gan" / "cgan"
    assert [step for step, _ in read(folder)["loss/l1"]] == [1, 2]
    assert len(list(folder.iterdir())) == 1
    assert not list(tmp_path.glob(".*.partial"))


def test_figures_that_are_not_finite_are_left_out(tmp_path: Path) -> None:
    undefined = {"brain": ImageScores(protocol="paired", figures=[Figure(metric="ssim", value=None)])}
    finish(tmp_path, "gan/cgan", 1, losses={"l1": 0.5}, scores=undefined)
    # JSON as our writer makes it holds no NaN; a file from elsewhere may.
    file = tmp_path / "checkpoints" / "gan" / "cgan" / "round-00001.json"
    file.write_text(file.read_text().replace("0.5", "NaN", 1))
    write_tracking(tmp_path)
    tags = read(tmp_path / FOLDER / "gan" / "cgan")
    assert "loss/l1" not in tags
    assert "loss/gone" not in tags
    assert "score/brain/ssim" not in tags
    assert all(math.isfinite(value) for points in tags.values() for _, value in points)


def test_no_name_of_the_machine_is_in_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "canary-host")
    finish(tmp_path, "gan/cgan", 1)
    write_tracking(tmp_path)
    for file in (tmp_path / FOLDER).rglob("*"):
        assert "canary-host" not in file.name
        assert not file.is_file() or b"canary-host" not in file.read_bytes()


def test_without_a_finished_round_there_is_no_folder(tmp_path: Path) -> None:
    assert write_tracking(tmp_path) is None
    finish(tmp_path, "gan/cgan", 1)
    write_tracking(tmp_path)
    (tmp_path / "checkpoints" / "gan" / "cgan" / "round-00001.json").unlink()
    assert write_tracking(tmp_path) is None
    assert not (tmp_path / FOLDER).exists()


def test_a_damaged_record_is_named_and_leaves_what_was_there(tmp_path: Path) -> None:
    finish(tmp_path, "gan/cgan", 1)
    write_tracking(tmp_path)
    (tmp_path / "checkpoints" / "gan" / "cgan" / "round-00001.json").write_text("{")
    with pytest.raises(DamagedFileError, match=r"round-00001\.json"):
        write_tracking(tmp_path)
    assert read(tmp_path / FOLDER / "gan" / "cgan")["loss/l1"] == [(1, 1.0)]
