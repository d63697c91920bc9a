import pytest
from lesion_slices import healthy_slices, lesion_patient, slices

from common.imaging.slices import PatientSlices, Slices

__all__ = ["healthy_slices", "slices"]


@pytest.fixture(scope="session")
def tumour_slices() -> Slices:
    """Two slices of one patient, each with a tumour."""
    patient = lesion_patient(0, 64, True, 1)
    one = PatientSlices("p0", patient.images[1:4], patient.labels[1:4], patient.foreground[1:4])
    return Slices("brain", ("flair",), [one, one], 12)


@pytest.fixture(scope="session")
def two_contrasts() -> Slices:
    return Slices("brain", ("t1", "flair"), [lesion_patient(i, 64, i < 4, 2) for i in range(6)], 12)
