"""What a user reads when something is wrong: a clear error, an exit code, and nothing half-written."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tiny import TinyStudy, write_site

from simulation.cli import main

Spoil = Callable[[Path], list[str]]


def wrong_path(folder: Path) -> list[str]:
    return [f"site.hospital1.path={folder / 'nowhere'}"]


def empty_folder(folder: Path) -> list[str]:
    (folder / "empty").mkdir(parents=True)
    return [f"site.hospital1.path={folder / 'empty'}"]


def corrupt_files(folder: Path) -> list[str]:
    write_site(folder / "corrupt", 4, seed=3)
    for file in (folder / "corrupt").rglob("*_flair.nii.gz"):
        file.write_bytes(file.read_bytes()[:40])
    return [f"site.hospital1.path={folder / 'corrupt'}"]


def missing_reference(folder: Path) -> list[str]:
    return [f"reference.brain.path={folder / 'no-reference'}"]


def unknown_key(folder: Path) -> list[str]:
    return ["federation.roundz=3"]


def unknown_group(folder: Path) -> list[str]:
    return ["model=diffusion"]


def unknown_model_key(folder: Path) -> list[str]:
    return ["+models.cgan.colour=3"]


def wrong_type(folder: Path) -> list[str]:
    return ["federation.rounds=many"]


def unknown_reader(folder: Path) -> list[str]:
    return ["site.hospital1.reader=jpeg2000"]


def missing_weights(folder: Path) -> list[str]:
    return ["classifier=resnet50"]


def nothing_to_resume(folder: Path) -> list[str]:
    return [f"resume={folder / 'runs' / 'latest'}"]


@pytest.mark.parametrize(
    ("spoil", "code", "texts"),
    [
        (wrong_path, 3, ["hospital1", "nowhere"]),
        (empty_folder, 3, ["hospital1", "empty"]),
        (corrupt_files, 3, ["hospital1", "corrupt", "quarantine"]),
        (missing_reference, 3, ["no-reference", "reference.brain.path"]),
        (unknown_key, 2, ["roundz"]),
        (unknown_group, 2, ["diffusion", "cgan"]),
        (unknown_model_key, 2, ["colour"]),
        (wrong_type, 2, ["many"]),
        (unknown_reader, 2, ["jpeg2000", "brats"]),
        (missing_weights, 2, ["weights.imagenet_resnet50", "small_resnet"]),
        (nothing_to_resume, 2, ["there is no run"]),
    ],
)
def test_a_mistake_is_named_and_leaves_no_run_behind(
    spoil: Spoil,
    code: int,
    texts: list[str],
    tiny_study: TinyStudy,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    mistake = spoil(tmp_path)
    overrides = mistake if mistake[0].startswith("resume=") else tiny_study.with_output(tmp_path, *mistake)
    with pytest.raises(SystemExit) as stop:
        main(["run", *overrides])
    assert stop.value.code == code
    error = capsys.readouterr().err
    assert error.startswith("error: ") or "\nerror: " in error
    assert "Traceback" not in error
    for text in texts:
        assert text in error
    runs = tmp_path / "runs"
    assert not runs.exists() or list(runs.iterdir()) == []


def test_an_unknown_option_shows_the_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["run", "--colour"])
    assert stop.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_help_lists_the_commands_and_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["-h"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "cohort" in text
    assert "exit codes" in text


def test_a_few_bad_studies_are_quarantined_and_the_study_goes_on(
    tiny_study: TinyStudy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_site(tmp_path / "site", 11, seed=1)
    next(folder.glob("*00/*_flair.nii.gz")).write_bytes(b"not an image")
    quick = ("federation.rounds=1", "classifier.federation.rounds=1", "study.arms=[real]")
    with pytest.raises(SystemExit) as stop:
        main(["run", *tiny_study.with_output(tmp_path, *quick, f"site.hospital1.path={folder}")])
    assert stop.value.code == 0
    assert "hospital1: 1 study quarantined beside 10 usable patients" in capsys.readouterr().out
    page = (tmp_path / "runs" / "demo" / "sites" / "hospital1" / "report" / "index.html").read_text()
    assert "case-1-00" in page
