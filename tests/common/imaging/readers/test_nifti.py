import gzip
import tracemalloc
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from common.imaging.readers.nifti import read_header, read_voxels

VALUES = np.random.default_rng(0).integers(-300, 3000, (18, 20, 6)).astype(np.int16)


def saved(path: Path, values: np.ndarray = VALUES, kind: type = nib.Nifti1Image) -> Path:
    nib.save(kind(values, np.eye(4)), path)
    return path


def read(path: Path) -> np.ndarray:
    return read_voxels(path, read_header(path))


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.NII.GZ"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_voxels_are_those_that_nibabel_reads_in_the_type_of_the_file(tmp_path, name: str, kind: type) -> None:
    voxels = read(saved(tmp_path / name, kind=kind))
    assert voxels.dtype == np.int16
    np.testing.assert_array_equal(voxels, VALUES)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, ">i2"])
def test_any_type_and_order_of_bytes_is_read(tmp_path, dtype) -> None:
    path = tmp_path / "a.nii.gz"
    image = nib.Nifti1Image(np.abs(VALUES).astype(dtype), np.eye(4))
    if dtype == ">i2":
        image = nib.Nifti1Image(np.abs(VALUES), np.eye(4), header=nib.Nifti1Header(endianness=">"))
        image.set_data_dtype(np.int16)
    nib.save(image, path)
    np.testing.assert_array_equal(read(path), np.asarray(nib.load(path).dataobj))


def test_a_scale_in_the_header_is_applied(tmp_path) -> None:
    image = nib.Nifti1Image(VALUES, np.eye(4))
    image.header.set_slope_inter(0.5, 10)
    nib.save(image, tmp_path / "a.nii.gz")
    np.testing.assert_allclose(read(tmp_path / "a.nii.gz"), nib.load(tmp_path / "a.nii.gz").get_fdata())


def test_a_file_of_several_gzip_streams_is_read_whole(tmp_path) -> None:
    content = saved(tmp_path / "a.nii").read_bytes()
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(content[:1000]) + gzip.compress(content[1000:]))
    np.testing.assert_array_equal(read(path), VALUES)


def test_a_stream_that_goes_on_is_unpacked_no_further_than_its_header_says(tmp_path) -> None:
    path = tmp_path / "a.nii.gz"
    content = saved(tmp_path / "a.nii").read_bytes()
    path.write_bytes(gzip.compress(content + bytes(200_000_000), compresslevel=1))
    header = read_header(path)
    tracemalloc.start()
    try:
        np.testing.assert_array_equal(read_voxels(path, header), VALUES)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_voxels_that_do_not_shrink_are_read_whole(tmp_path) -> None:
    noise = np.random.default_rng(1).integers(-(2**15), 2**15, (64, 64, 64)).astype(np.int16)
    content = saved(tmp_path / "a.nii", noise).read_bytes()
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(content, compresslevel=0))
    np.testing.assert_array_equal(read(tmp_path / "a.nii.gz"), noise)


@pytest.mark.parametrize("where", [0.6, -6])
def test_a_stream_that_was_changed_or_cut_off_is_refused(tmp_path, where: float) -> None:
    path = saved(tmp_path / "a.nii.gz")
    content = bytearray(path.read_bytes())
    at = int(where * len(content)) if where > 0 else int(where)
    content[at] ^= 0xFF  # in the voxels, or in the checksum at the end
    header = read_header(path)
    path.write_bytes(content)
    with pytest.raises(Exception, match=r"."):
        read_voxels(path, header)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(Exception, match=r"."):
        read_voxels(path, header)
