import io

import numpy as np
import pydicom
import pytest
from pydicom.uid import UID

from common.imaging.deidentification import identifying_fields
from simulation.cohort.ct.dicom import PADDING, SeriesHeader, ct_series, make_uid

HEADER = SeriesHeader("Demo_x_0001", "chest", "ct", 2, "", "CHEST", "STANDARD", "IV", (2.5, 1.7, 1.7))


@pytest.fixture(scope="module")
def hu() -> np.ndarray:
    return np.random.default_rng(0).uniform(-1024, 3071, (3, 16, 16)).astype(np.float32)


def test_slices_hold_the_hounsfield_units_from_the_lowest_to_the_highest(hu: np.ndarray) -> None:
    images = ct_series(hu, None, HEADER)
    heights = [float(image.ImagePositionPatient[2]) for image in images]
    assert np.diff(heights) == pytest.approx([2.5, 2.5])
    for plane, image in zip(hu, images, strict=True):
        stored = io.BytesIO()
        image.save_as(stored, enforce_file_format=True)
        stored.seek(0)
        again = pydicom.dcmread(stored)
        values = again.pixel_array * float(again.RescaleSlope) + float(again.RescaleIntercept)
        np.testing.assert_allclose(values, plane, atol=0.5)
    assert [int(image.InstanceNumber) for image in images] == [3, 2, 1], "instance numbers do not follow the position"


def test_nothing_in_a_header_identifies_a_person(hu: np.ndarray) -> None:
    for image in ct_series(hu, None, HEADER):
        assert identifying_fields(image) == ()
        assert image.PatientIdentityRemoved == "YES"


def test_corners_beyond_a_round_field_are_padding(hu: np.ndarray) -> None:
    inside = np.ones((16, 16), bool)
    inside[0, 0] = False
    image = ct_series(hu, inside, HEADER)[0]
    assert image.PixelPaddingValue == PADDING
    assert image.pixel_array[0, 0] == PADDING
    assert (image.pixel_array[inside] >= 0).all()


def test_uids_are_valid_and_depend_on_the_names_alone() -> None:
    uid = make_uid("a", 1)
    assert UID(uid).is_valid
    assert uid == make_uid("a", 1)
    assert len({make_uid("a", k) for k in range(50)}) == 50
