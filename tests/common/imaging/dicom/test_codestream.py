"""The size that a compressed image states is told as its encoder wrote it."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_files import body, ct_series
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.encaps import get_frame
from pydicom.pixels.utils import compress
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless

from common.imaging.dicom.codestream import grey_image_size


@pytest.mark.parametrize("syntax", [JPEGLSLossless, JPEG2000Lossless])
def test_size_of_what_pydicom_compressed(syntax: str) -> None:
    [dataset] = ct_series(body((1, 40, 52)))
    compress(dataset, syntax)
    assert grey_image_size(get_frame(dataset.PixelData, 0, number_of_frames=1)) == (40, 52)


@pytest.mark.parametrize(("suffix", "options"), [("jpg", {}), ("jp2", {}), ("j2k", {"no_jp2": True})])
def test_size_of_what_pillow_compressed(tmp_path: Path, suffix: str, options: dict[str, object]) -> None:
    grey = Image.fromarray(np.arange(40 * 52, dtype=np.uint8).reshape(40, 52))
    grey.save(tmp_path / f"grey.{suffix}", **options)
    assert grey_image_size((tmp_path / f"grey.{suffix}").read_bytes()) == (40, 52)
    grey.convert("RGB").save(tmp_path / f"colour.{suffix}", **options)
    assert grey_image_size((tmp_path / f"colour.{suffix}").read_bytes()) == (120, 52)


@pytest.mark.parametrize("name", ["JPGExtended.dcm", "JPEG-lossy.dcm", "JPEGLSNearLossless_16.dcm", "JPEG2000.dcm"])
def test_size_of_images_from_scanners(name: str) -> None:
    dataset = pydicom.dcmread(str(get_testdata_file(name, download=False)))
    stated = grey_image_size(get_frame(dataset.PixelData, 0, number_of_frames=1))
    assert stated == (dataset.Rows, dataset.Columns)


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"\xff\xd8\xff\xff\xff", b"\xff\x4f\xff\x51\x00", b"hello" * 10])
def test_what_states_no_size_has_none(data: bytes) -> None:
    assert grey_image_size(data) is None


def test_a_table_that_is_said_to_be_empty_does_not_hold_up_the_search() -> None:
    assert grey_image_size(b"\xff\xd8" + b"\xff\xe0\x00\x00" * 100) is None
