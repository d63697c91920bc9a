import bz2
import gzip
import io
import lzma
import tracemalloc
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from common.errors import BadStudyError
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


def zipped(content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a.nii", content)
    return stream.getvalue()


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_a_file_is_packed_or_plain_by_its_content_whatever_its_name(tmp_path, kind: type) -> None:
    content = saved(tmp_path / "a.nii", kind=kind).read_bytes()
    (tmp_path / "plain.nii.gz").write_bytes(content)
    (tmp_path / "packed.nii").write_bytes(gzip.compress(content))
    for name in ("plain.nii.gz", "packed.nii"):
        np.testing.assert_array_equal(read(tmp_path / name), VALUES)


@pytest.mark.parametrize(
    ("made", "what"),
    [
        (lambda content: gzip.compress(gzip.compress(content)), "was compressed twice; unpack it once"),
        (zipped, "is a zip archive, not a NIfTI file"),
        (bz2.compress, "is packed with bzip2, not gzip"),
        (lzma.compress, "is packed with xz, not gzip"),
        (lambda _: b"NRRD0005\ntype: short\n", "is an NRRD file"),
        (lambda _: b"ObjectType = Image\nNDims = 3\n", "is a MetaImage file"),
        (lambda _: b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS"),
        (lambda _: b"<!DOCTYPE html><html>", "is text as a web server sends it"),
        (lambda _: bytes(128) + b"DICM" + bytes(400), "is a DICOM file, not NIfTI; use reader: dicom"),
        (lambda content: content[:344] + b"ni1\0" + content[348:], "is one half of a pair"),
        (lambda content: content[:344] + bytes(4) + content[348:], "is in the older format Analyze 7.5"),
    ],
)
def test_a_file_that_is_something_else_is_refused_with_what_it_is(tmp_path, made, what: str) -> None:
    content = saved(tmp_path / "plain.nii").read_bytes()
    for name, wrapped in (("a.nii", made(content)), ("a.nii.gz", gzip.compress(made(content)))):
        (tmp_path / name).write_bytes(wrapped)
        if "twice" in what and name == "a.nii.gz":
            continue
        with pytest.raises(BadStudyError, match=rf"^{name}: {what}"):
            read_header(tmp_path / name)


def test_the_offset_of_the_voxels_is_the_usual_one_where_the_header_leaves_it_at_0(tmp_path) -> None:
    content = bytearray(saved(tmp_path / "a.nii").read_bytes())
    content[108:112] = bytes(4)
    (tmp_path / "a.nii").write_bytes(content)
    np.testing.assert_array_equal(read(tmp_path / "a.nii"), VALUES)


def test_the_voxel_sizes_of_a_header_are_kept_as_stored(tmp_path) -> None:
    content = bytearray(saved(tmp_path / "a.nii").read_bytes())
    content[80:92] = np.array([0, -2, 3], "<f4").tobytes()
    (tmp_path / "a.nii").write_bytes(content)
    header = read_header(tmp_path / "a.nii")
    assert header.pixdim.tolist() == [0, -2, 3]
    assert header.shape == VALUES.shape


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_header_that_is_cut_off_or_none_is_refused(tmp_path, pack) -> None:
    content = saved(tmp_path / "a.nii").read_bytes()
    for left in (b"", content[:347], b"x" * 999, bytes(999)):
        (tmp_path / "a.nii").write_bytes(pack(left))
        with pytest.raises(Exception, match=r"."):
            read_header(tmp_path / "a.nii")


@pytest.mark.parametrize(("at", "values"), [(42, [-18, 20, 6]), (42, [0, 20, 6]), (108, [np.float32(3e8)])])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_header_that_gives_no_place_for_the_voxels_is_refused_without_unpacking(tmp_path, pack, at, values) -> None:
    content = bytearray(saved(tmp_path / "a.nii").read_bytes())
    wrong = np.array(values, "<f4" if at == 108 else "<i2").tobytes()
    content[at : at + len(wrong)] = wrong
    (tmp_path / "a.nii").write_bytes(pack(bytes(content)))
    with pytest.raises(ValueError, match="no place for the voxels"):
        read(tmp_path / "a.nii")


def test_a_plain_file_that_ends_too_early_is_refused(tmp_path) -> None:
    path = saved(tmp_path / "a.nii.gz")
    path.write_bytes(gzip.decompress(path.read_bytes())[:-1])
    with pytest.raises(ValueError, match="buffer"):
        read(path)
