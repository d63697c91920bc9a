from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common.imaging.readers.registry import build_reader
from simulation.cohort.key import PatientKey
from simulation.cohort.lung.patient import LARGEST_SHARE, LungPatient, make_lung_patient
from simulation.cohort.lung.writing import write_lidc_case

KEY = PatientKey(seed=5, site="site/north", index=0, scanner="a", tumour=True, slices=16)


@pytest.fixture(scope="module")
def patients(made_up_anatomy: Path) -> list[LungPatient]:
    return [make_lung_patient(replace(KEY, index=index), made_up_anatomy) for index in range(4)]


def agreed(patient: LungPatient) -> np.ndarray:
    """Voxels that half of the readers of a nodule enclose, where at least three marked it."""
    mask = np.zeros(patient.hu.shape, bool)
    for nodule in patient.nodules:
        if len(nodule) >= 3:
            mask |= np.mean([reading.mask for reading in nodule.values()], axis=0) >= 0.5
    return mask


def test_same_key_gives_the_same_patient_and_another_key_another(
    patients: list[LungPatient], made_up_anatomy: Path
) -> None:
    assert np.array_equal(make_lung_patient(KEY, made_up_anatomy).hu, patients[0].hu)
    for other in (replace(KEY, seed=6), replace(KEY, site="site/south")):
        assert not np.array_equal(make_lung_patient(other, made_up_anatomy).hu, patients[0].hu)


def test_patients_with_nodules_have_slices_without(patients: list[LungPatient]) -> None:
    for patient in patients:
        share = agreed(patient).any(axis=(1, 2)).mean()
        assert 0 < share <= LARGEST_SHARE + 0.15


def test_nodules_are_denser_than_the_lung_around_them(patients: list[LungPatient]) -> None:
    for patient in patients:
        mask = agreed(patient)
        lung = (patient.hu < -700) & ~mask
        assert np.median(patient.hu[mask]) > np.median(patient.hu[lung]) + 150


def test_readers_outline_a_nodule_differently(patients: list[LungPatient]) -> None:
    sizes = [
        {int(reading.mask.sum()) for reading in nodule.values()}
        for patient in patients
        for nodule in patient.nodules
        if len(nodule) >= 3
    ]
    assert any(len(size) > 1 for size in sizes)


def test_patient_without_nodules_has_none_that_three_readers_saw(made_up_anatomy: Path) -> None:
    for index in range(4):
        patient = make_lung_patient(replace(KEY, tumour=False, index=index), made_up_anatomy)
        assert all(len(nodule) < 3 for nodule in patient.nodules)


def test_slab_is_as_high_as_was_asked_for_or_as_the_lungs(made_up_anatomy: Path) -> None:
    assert len(make_lung_patient(replace(KEY, slices=9), made_up_anatomy).hu) == 9
    whole = make_lung_patient(replace(KEY, slices=155, tumour=False), made_up_anatomy)
    assert 150 < len(whole.hu) * whole.spacing[0] < 175, "mm"


def test_reader_gives_back_what_was_drawn(patients: list[LungPatient], tmp_path: Path) -> None:
    reader = build_reader("lidc", organ="lung", contrasts=["ct"], options={})
    for index, patient in enumerate(patients):
        folder = tmp_path / f"Demo_north_{index:04d}"
        folder.mkdir()
        write_lidc_case(folder, folder.name, patient)
    for drawn, location in zip(patients, reader.find(tmp_path), strict=True):
        read = reader.read(location)
        inside = np.ones(drawn.hu.shape[1:], bool) if drawn.inside is None else drawn.inside
        np.testing.assert_allclose(read.images[0][:, inside], drawn.hu[:, inside], atol=0.5)
        assert read.spacing == pytest.approx(drawn.spacing)
        assert read.identifying == ()
        assert read.labels is not None
        mask = agreed(drawn)
        assert ((read.labels > 0) != mask).sum() <= 0.02 * mask.sum() + 2, "equal but for a few pixels of the boundary"
        known = [lesion for lesion in read.lesions if lesion.readers >= 3 and lesion.volume_mm3 > 0]
        assert len(known) == sum(len(nodule) >= 3 for nodule in drawn.nodules)
        assert all(lesion.malignancy is not None for lesion in known)


def test_files_are_the_same_bytes_again_and_small(patients: list[LungPatient], tmp_path: Path) -> None:
    stored = []
    for run in ("first", "second"):
        (tmp_path / run).mkdir()
        write_lidc_case(tmp_path / run, "Demo_north_0000", patients[0])
        files = sorted(path for path in (tmp_path / run).rglob("*") if path.is_file())
        stored.append({path.relative_to(tmp_path / run): path.read_bytes() for path in files})
    assert stored[0] == stored[1]
    assert {path.suffix for path in stored[0]} == {".dcm", ".xml"}
    assert sum(map(len, stored[0].values())) < 4e6
