"""``oncofed-client prepare`` as a node operator runs it, and the help of both commands."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.imaging.patient import Patient, StudyLocation
from common.imaging.readers.brats import BratsReader


def test_every_patient_is_prepared_and_counted(hospital: Any, client: Callable[..., Any]) -> None:
    mask = hospital.data / "case-3-05" / "case-3-05_seg.nii.gz"
    mask.write_bytes(mask.read_bytes()[:100])
    said = client("prepare", hospital.site)
    assert said.code == 0, said.err
    assert "preparing: 8 of 8 patients\n7 patients with 70 slices are ready for training\n" in said.out
    assert "1 study in quarantine:\n     1  cannot be read, the file is damaged or incomplete\n" in said.out
    assert len(list((hospital.folder / "cache").rglob("images.npy"))) == 7
    assert hospital.files() == {"site.yaml"}


def test_an_interrupted_preparation_goes_on_where_it_stopped(
    hospital: Any, client: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = BratsReader.read
    names: list[str] = []

    def interrupted(self: BratsReader, location: StudyLocation) -> Patient:
        if len(names) == 3:
            raise KeyboardInterrupt
        names.append(location.patient)
        return read(self, location)

    monkeypatch.setattr(BratsReader, "read", interrupted)
    said = client("prepare", hospital.site)
    assert said.code == 130
    assert "the same command goes on from there" in said.out

    def counted(self: BratsReader, location: StudyLocation) -> Patient:
        names.append(location.patient)
        return read(self, location)

    monkeypatch.setattr(BratsReader, "read", counted)
    assert client("prepare", hospital.site).code == 0
    assert len(names) == len(set(names)) == 8


def test_a_folder_without_anything_usable_is_an_error(hospital: Any, client: Callable[..., Any]) -> None:
    for mask in hospital.data.rglob("*_flair.nii.gz"):
        mask.write_bytes(b"")
    said = client("prepare", hospital.site)
    assert said.code == 3
    assert "none of 8 studies can be used" in said.err


def test_a_study_of_other_organs_is_a_wrong_option(hospital: Any, client: Callable[..., Any]) -> None:
    hospital.settings(organ="lung", reader="lidc")
    said = client("prepare", hospital.site)
    assert said.code == 2
    assert "the study is not about the lung" in said.err


def test_a_missing_site_file_is_named(tmp_path: Path, client: Callable[..., Any]) -> None:
    for command in ("prepare", "doctor"):
        said = client(command, tmp_path / "site.yaml")
        assert said.code == 2
        assert str(tmp_path / "site.yaml") in said.err


def test_help_needs_no_torch() -> None:
    program = (
        "import sys\nfrom client.cli import main\n"
        "try:\n    main(['doctor', '-h'])\nfinally:\n    print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "--study FILE" in done.stdout
    assert done.stdout.endswith("False\n")
