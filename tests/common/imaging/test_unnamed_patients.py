"""Studies whose headers name no patient, beside others whose do."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from dicom_files import body, ct_series, segmentation, write

from client.hello.notes import Notes
from client.hello.tasks import possible_tasks
from client.privacy.slices import require_known_patients
from common.errors import RefusalError
from common.imaging.cohort import PreparedCohort
from common.imaging.prepare import prepare_cohort
from common.imaging.readers.dicom import DicomReader
from common.imaging.remarks import Tally
from common.study.experiment import ImageConfig, PreprocessingConfig

WHAT = "the header names no patient, so that each such study counts as a patient of its own"


@pytest.fixture
def prepared(tmp_path: Path) -> Any:
    """``prepared("ann", "", "")``: a cohort of one study each, by its PatientID."""

    def prepare(*patients: str, spoil: str | None = None) -> PreparedCohort:
        for number, patient in enumerate(patients):
            hu = body((6, 32, 32), seed=number)
            mass = np.zeros(hu.shape, np.uint8)
            mass[2:4, 10:18, 10:18] = 1
            slices = ct_series(hu, patient=patient)
            if patient == spoil:
                del slices[3]
            write([*slices, segmentation(slices, {"Mass": mass[: len(slices)]})], tmp_path / "data" / f"study{number}")
        return prepare_cohort(
            DicomReader("liver", ("ct",), ("mass",)),
            tmp_path / "data",
            cache_dir=tmp_path / "cache",
            organ="liver",
            contrasts=["ct"],
            image=ImageConfig(size=32),
            preprocessing=PreprocessingConfig(),
        )

    return prepare


def notes_of(cohort: PreparedCohort) -> list[str]:
    notes = Notes()
    study = SimpleNamespace(settings=SimpleNamespace(roles=[]))
    data: Any = SimpleNamespace(study=study, cohort=cohort, cohorts=SimpleNamespace(has_masks=False))
    possible_tasks(data, notes)
    return [note for note in notes if "name no patients" in note]


def refusal(cohort: PreparedCohort) -> str:
    data: Any = SimpleNamespace(cohort=cohort)
    try:
        require_known_patients(data)
    except RefusalError as error:
        return str(error)
    return ""


def test_some_studies_without_a_patient_leave_the_others_known(prepared: Any) -> None:
    cohort = prepared("ann", "", "bob", "")
    assert cohort.patients_known
    assert (len(cohort.patients), cohort.unnamed) == (4, 2)
    assert cohort.remarks == (Tally("guess", WHAT, 2, cohort.remarks[0].examples),)
    assert set(cohort.remarks[0].examples) == {"study1", "study3"}
    assert notes_of(cohort) == [
        "some of its images name no patients: each study of theirs counts as a patient of its own"
    ]
    assert "some of its images name no patients" in refusal(cohort)
    assert "leave them out (patients of site.yaml)" in refusal(cohort)


def test_the_same_is_said_from_the_cache(prepared: Any) -> None:
    first = prepared("ann", "")
    assert first.remarks
    assert prepared() == first


def test_where_no_study_names_a_patient_the_data_do_not(prepared: Any) -> None:
    cohort = prepared("", "")
    assert not cohort.patients_known
    assert cohort.unnamed == 2
    assert cohort.remarks == ()
    assert "its split and its intervals are by image" in notes_of(cohort)[0]
    assert refusal(cohort).startswith("its images name no patients")


def test_where_all_name_one_there_is_nothing_to_say(prepared: Any) -> None:
    cohort = prepared("ann", "bob")
    assert (cohort.patients_known, cohort.unnamed, cohort.remarks) == (True, 0, ())
    assert notes_of(cohort) == []
    assert refusal(cohort) == ""


def test_a_study_that_is_left_out_makes_nobody_unknown(prepared: Any) -> None:
    cohort = prepared("ann", "", spoil="")
    assert (len(cohort.patients), cohort.unnamed) == (1, 0)
    assert cohort.patients_known
    assert refusal(cohort) == ""


def test_usable_studies_that_all_name_nobody_are_not_known_by_one_that_is_left_out(prepared: Any) -> None:
    cohort = prepared("ann", "", spoil="ann")
    assert (len(cohort.patients), cohort.unnamed) == (1, 1)
    assert not cohort.patients_known
    assert refusal(cohort)
