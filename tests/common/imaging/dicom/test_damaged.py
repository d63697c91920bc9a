"""Whatever a file holds, it becomes a volume or a reason, quickly and in little memory."""

import contextlib
import random
import resource
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_files import body, ct_series, enhanced, segmentation, structure_set, write
from mutation import mutate
from pydicom import Dataset
from pydicom.data import get_testdata_file
from pydicom.pixels.utils import compress
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless, generate_uid

from common.errors import BadStudyError
from common.imaging.confidential import attribute_rules
from common.imaging.dicom.index import index_files
from common.imaging.dicom.masks import load_masks
from common.imaging.dicom.references import referred_images, referred_series
from common.imaging.dicom.volume import DicomVolume, load_volume

SHIPPED = sorted(Path(str(get_testdata_file("CT_small.dcm", download=False))).parent.glob("*.dcm"))
SHAPE = (4, 32, 32)
MASK = np.zeros(SHAPE, np.uint8)
MASK[1:3, 6:15, 8:18] = 1
SQUARE = np.array([(7.5, 5.5), (17.5, 5.5), (17.5, 14.5), (7.5, 14.5)])


def shipped(name: str) -> Path:
    return next(path for path in SHIPPED if path.name == name)


def test_a_missing_package_is_no_damaged_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise every study of a site is quarantined because something was not installed."""
    files = write(ct_series(body()), tmp_path)
    attribute_rules.cache_clear()
    monkeypatch.setitem(sys.modules, "dicomanonymizer", None)
    monkeypatch.setattr("common.imaging.confidential._TABLE", "dicomanonymizer")
    with pytest.raises(ImportError, match="dicomanonymizer"):
        load_volume(files)
    monkeypatch.undo()
    assert load_volume(files).patient == "patient-1"


def two_slices(path: Path, folder: Path) -> list[Path]:
    """A file of one slice, and the same again one millimetre higher; the file alone where pydicom cannot write it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(path, force=True)
        try:
            dataset.save_as(folder / "0.dcm")
        except TypeError:
            return [path]
        x, y, z = dataset.get("ImagePositionPatient", (0, 0, 0))
        dataset.ImagePositionPatient = [x, y, z + 1]
        dataset.SOPInstanceUID = generate_uid()
        dataset.save_as(folder / "1.dcm")
    return [folder / "0.dcm", folder / "1.dcm"]


def test_pydicom_ships_its_test_files() -> None:
    assert len(SHIPPED) > 60


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_each_of_pydicoms_test_files_is_a_volume_or_has_a_reason(path: Path, tmp_path: Path) -> None:
    index_files([path])
    for files in ([path], two_slices(path, tmp_path)):
        with contextlib.suppress(BadStudyError):
            assert np.isfinite(load_volume(files).voxels).all()


@pytest.mark.parametrize(
    "name",
    [
        "MR_small_RLE.dcm",
        "MR_small_bigendian.dcm",
        "MR_small_expb.dcm",
        "MR_small_implicit.dcm",
        "MR_small_jp2klossless.dcm",
        "MR_small_jpeg_ls_lossless.dcm",
        "MR_small_padded.dcm",
    ],
)
def test_a_slice_is_the_same_in_every_transfer_syntax(name: str, tmp_path: Path) -> None:
    for folder in ("plain", "other"):
        (tmp_path / folder).mkdir()
    plain = load_volume(two_slices(shipped("MR_small.dcm"), tmp_path / "plain"))
    np.testing.assert_array_equal(load_volume(two_slices(shipped(name), tmp_path / "other")).voxels, plain.voxels)
    assert plain.voxels.max() == pydicom.dcmread(shipped("MR_small.dcm")).pixel_array.max()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("MR_truncated.dcm", "pixel data are missing, truncated or damaged"),
        ("SC_rgb_rle.dcm", "modality is OT"),
        ("rtdose.dcm", "modality is RTDOSE"),
        ("image_dfl.dcm", "its data set is deflated"),
        ("reportsi.dcm", "modality is SR"),
    ],
)
def test_the_reason_is_what_is_wrong(name: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(BadStudyError, match=reason):
        load_volume(two_slices(shipped(name), tmp_path) if "MR" in name else [shipped(name)])


@pytest.mark.parametrize("name", ["rtstruct.dcm", "liver_1frame.dcm", "CT_small.dcm", "test-SR.dcm"])
def test_outlines_of_other_images_are_refused(name: str, a_volume: DicomVolume) -> None:
    with contextlib.suppress(BadStudyError):
        masks = load_masks(shipped(name), a_volume, lambda _: True)
        assert masks.outlines.unusable.keys() >= set(masks.names)


@pytest.fixture
def a_volume(tmp_path: Path) -> DicomVolume:
    return load_volume(write(ct_series(body(SHAPE)), tmp_path / "volume"))


def compressed(syntax: str) -> Callable[[list[Dataset]], list[Dataset]]:
    def make(slices: list[Dataset]) -> list[Dataset]:
        compress(slices[0], syntax, generate_instance_uid=False)
        return slices

    return make


KINDS: dict[str, Callable[[list[Dataset]], list[Dataset]]] = {
    "plain": lambda slices: slices,
    "rle": compressed(RLELossless),
    "jpeg_ls": compressed(JPEGLSLossless),
    "jpeg_2000": compressed(JPEG2000Lossless),
    "multi_frame": lambda slices: [enhanced(slices)],
    "seg": lambda slices: [segmentation(slices, {"Mass": MASK}), *slices],
    "structures": lambda slices: [structure_set(slices, {"Mass": [(1, SQUARE)]}), *slices],
}


@pytest.mark.parametrize("mutations", [15, pytest.param(400, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", KINDS)
def test_mutated_files_never_crash_hang_talk_or_take_much_memory(
    kind: str, mutations: int, tmp_path: Path, a_volume: DicomVolume, capfd: pytest.CaptureFixture[str]
) -> None:
    files = write(KINDS[kind](list(ct_series(body(SHAPE)))), tmp_path)
    original = files[0].read_bytes()
    rng = random.Random(kind)
    outlines = kind in ("seg", "structures")
    images = index_files(files)

    def read() -> None:
        index_files(files)
        with contextlib.suppress(BadStudyError):
            if outlines:
                referred_series(files[0], images)
                referred_images(files[0])
                load_masks(files[0], a_volume, lambda name: name == "mass")
            else:
                load_volume(files)

    read()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(mutations):
        files[0].write_bytes(mutate(original, rng))
        start = time.monotonic()
        read()
        assert time.monotonic() - start < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 100 * 1024  # kilobytes
    assert capfd.readouterr() == ("", "")
