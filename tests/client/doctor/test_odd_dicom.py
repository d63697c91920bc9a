"""A hospital's own DICOM, odd in many ways: what the doctor says of it, and that nobody else speaks."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import yaml
from dicom_files import body, ct_series, segmentation, structure_set, write
from pydicom import Dataset
from tiny import TINY

LIVER = tuple(item.replace("site=brain", "site=liver").replace("organs.brain", "organs.liver") for item in TINY)
SQUARE = np.array([(13.5, 17.5), (21.5, 17.5), (21.5, 25.5), (13.5, 25.5)])
OPTIONS = "{tumour_segments: [mass], organ_segments: [liver]}"


def masks(shape: tuple[int, ...]) -> tuple[Any, Any]:
    liver, mass = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    liver[1:7, 14:34, 10:36] = 1
    mass[3:6, 18:26, 14:22] = 1
    return liver, mass


def study(folder: Path, number: int, name: str = "Mass", spoil: Callable[[Dataset], None] | None = None) -> None:
    hu = body((8, 48, 48), seed=number)
    liver, mass = masks(hu.shape)
    slices = ct_series(hu + 80 * mass, patient=f"P{number:02d}")
    outline = segmentation(slices, {"Liver": liver, **({name: mass} if name else {})})
    for dataset in (*slices, outline):
        if spoil is not None:
            spoil(dataset)
    write([*slices, outline], folder / f"P{number:02d}")


def latin_bytes_as_utf8(dataset: Dataset) -> None:
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientID = "Mu-4"


@pytest.fixture
def odd(hospital: Any) -> Any:
    """Six sound studies of a liver, and others that make libraries speak."""
    data = hospital.folder / "dicom"
    for number in range(6):
        study(data, number, "Mass" if number else "")
    study(data, 6, spoil=latin_bytes_as_utf8)
    for path in (data / "P06").iterdir():
        path.write_bytes(path.read_bytes().replace(b"Mu-4", b"M\xfc-4"))
    study(data, 7, spoil=lambda dataset: setattr(dataset, "SpecificCharacterSet", "NO SUCH"))
    study(data, 8)
    for path in (data / "P08").iterdir():  # A number that is none, and a date that is none.
        path.write_bytes(path.read_bytes().replace(b"2.5", b"2,5"))
    study(data, 9)
    for path in list((data / "P09").iterdir())[:3]:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    header = nib.Nifti1Header()
    header["pixdim"][0], header["descrip"] = 5, b"M\xfcller"
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), np.int16), None, header), data / "P01" / "more.nii")
    hospital.settings(reader="dicom", organ="liver", path="dicom", options=OPTIONS)
    return hospital


@pytest.mark.parametrize("command", ["doctor", "prepare"])
def test_no_library_writes_to_the_terminal(odd: Any, command: str) -> None:
    program = "from client.cli import main; import sys; main(sys.argv[1:])"
    run = [sys.executable, "-c", program, command, str(odd.site), *LIVER]
    said = subprocess.run(run, capture_output=True, text=True, check=False)
    lines = [line for line in (said.stdout + said.stderr).splitlines() if not re.match(r"(reading|preparing): ", line)]
    assert lines
    spoken = r"WARNING|Warning|warn\(|pydicom|highdicom|nibabel|Failed to|site-packages|Traceback"
    assert [line for line in lines if re.search(spoken, line)] == []


def test_a_question_is_answered_by_the_lines_that_the_doctor_prints(hospital: Any, client: Callable[..., Any]) -> None:
    data = hospital.folder / "dicom"
    for number, name in enumerate(["Mass", "Mass", "Mass", "Mass", "Tumor", "HCC", "", ""]):
        study(data, number, name)
    slices = ct_series(body((8, 48, 48), seed=20), patient="P20")
    drawn = {"Liver": [(3, SQUARE)], "mass": []}
    write([*slices, structure_set(slices, drawn)], data / "P20")
    hospital.settings(reader="dicom", organ="liver", path="dicom", options=OPTIONS)
    assert client("doctor", hospital.site, study=LIVER).code != 0
    told = json.loads((hospital.folder / "doctor" / "doctor.json").read_bytes())
    assert {one["about"]: one["options"] for one in told["questions"]} == {
        "mass": ["empty_segments"],
        "hcc": ["tumour_segments", "other_segments"],
        "tumor": ["tumour_segments", "other_segments"],
    }
    assert not told["fit"]
    options = yaml.safe_load(told["answers"])["options"]
    assert options["other_segments"] == ["hcc", "tumor"]
    options["tumour_segments"] += options.pop("other_segments")  # As the doctor says of what is a tumour.
    hospital.settings(reader="dicom", organ="liver", path="dicom", options=json.dumps(options))
    client("doctor", hospital.site, study=LIVER)
    told = json.loads((hospital.folder / "doctor" / "doctor.json").read_bytes())
    assert told["questions"] == []
    assert told["quarantine"] == []
    with_tumour = sorted(one["patient"] for one in told["studies"] if one["tumour_slices"])
    assert with_tumour == [f"P{number:02d}" for number in range(6)]


def test_studies_without_uids_reach_the_page_with_their_reason(hospital: Any, client: Callable[..., Any]) -> None:
    data = hospital.folder / "dicom"
    for number in range(8):
        study(data, number, "Mass" if number else "")
    study(data, 8, spoil=lambda dataset: setattr(dataset, "SeriesInstanceUID", ""))
    (data / "P01" / "cut.dcm").write_bytes((data / "P01" / "003.dcm").read_bytes()[:200])
    hospital.settings(reader="dicom", organ="liver", path="dicom", options=OPTIONS)
    client("doctor", hospital.site, study=LIVER)
    told = json.loads((hospital.folder / "doctor" / "doctor.json").read_bytes())
    reasons = {one["reason"].split(" (")[0]: len(one["studies"]) for one in told["quarantine"]}
    assert reasons.pop("SeriesInstanceUID is missing") == 1
    assert list(reasons) == ["the series that it was drawn on is not here, or it does not say which one"]
    assert [(one["what"], one["examples"]) for one in told["unused"] if one["kind"] == "file"] == [
        ("DICOM with a damaged header", ["P01/cut.dcm"])
    ]
