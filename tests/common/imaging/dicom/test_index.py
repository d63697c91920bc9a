"""Series are found by their UIDs, in whatever disorder a folder is."""

import logging
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_files import body, ct_series, segmentation, write
from pydicom.data import get_testdata_file

from common.imaging.dicom.index import Series, index_files, index_folder


def test_series_are_told_apart_by_their_uids_not_by_folders_or_names(tmp_path: Path) -> None:
    one, two = (ct_series(body((3, 20, 20)), patient=name, description=name) for name in ("B", "A"))
    write([pair for both in zip(one, two, strict=True) for pair in both], tmp_path, "IM{}")
    first, second = index_folder(tmp_path)
    assert first == Series(
        uid=two[0].SeriesInstanceUID,
        study_uid=two[0].StudyInstanceUID,
        patient="A",
        modality="CT",
        description="A",
        files=(tmp_path / "IM1", tmp_path / "IM3", tmp_path / "IM5"),
    )
    assert second.files == (tmp_path / "IM0", tmp_path / "IM2", tmp_path / "IM4")


def test_outlines_are_series_too(tmp_path: Path) -> None:
    slices = ct_series(body((3, 20, 20)))
    write([*slices, segmentation(slices, {"Mass": np.ones((3, 20, 20))})], tmp_path / "deep" / "down")
    assert sorted(series.modality for series in index_folder(tmp_path)) == ["CT", "SEG"]


def test_what_is_no_dicom_is_passed_over(tmp_path: Path) -> None:
    write(ct_series(body((3, 20, 20))), tmp_path)
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "empty.dcm").write_bytes(b"")
    (tmp_path / "zeros").write_bytes(b"\0" * 1000)
    (tmp_path / ".hidden").mkdir()
    write(ct_series(body((3, 20, 20))), tmp_path / ".hidden")
    [series] = index_folder(tmp_path)
    assert len(series.files) == 3


def test_a_file_without_the_preamble_is_read(tmp_path: Path) -> None:
    [path] = write(ct_series(body((1, 20, 20))), tmp_path)
    bare = path.read_bytes()
    path.write_bytes(bare[132:])
    assert len(index_folder(tmp_path)) == 1


def test_damaged_headers_are_counted_in_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cut, emptied, mangled, *_ = paths = write(ct_series(body((5, 20, 20))), tmp_path)
    cut.write_bytes(cut.read_bytes()[:300])
    without_uid = pydicom.dcmread(emptied)
    without_uid.SeriesInstanceUID = ""
    without_uid.save_as(emptied)
    mangled.write_bytes(mangled.read_bytes().replace(b"\x02\x00\x10\x00UI\x14\x00", b"\x02\x00\x10\x00SQ\xff\xff"))
    with caplog.at_level(logging.INFO):
        unnamed, series = index_folder(tmp_path)
    assert series.files == tuple(paths[3:])
    assert (unnamed.uid, unnamed.files) == ("", (emptied,))
    [line] = caplog.messages
    assert line.startswith("2 DICOM files are passed over")
    assert line.endswith("000.dcm")


def test_files_that_name_no_series_are_put_together_by_folder_and_modality(tmp_path: Path) -> None:
    for name in ("one", "two"):
        slices = ct_series(body((3, 20, 20)), patient="")
        mask = segmentation(slices, {"Mass": np.ones((3, 20, 20))})
        for dataset in (*slices, mask):
            dataset.SeriesInstanceUID = dataset.StudyInstanceUID = ""
        write([*slices, mask], tmp_path / name)
    found = index_folder(tmp_path)
    assert [(one.uid, one.modality, len(one.files)) for one in found] == [("", "CT", 3), ("", "SEG", 1)] * 2
    assert [one.study for one in found] == [str(tmp_path / name) for name in ("one", "one", "two", "two")]


def test_the_table_of_contents_of_a_cd_is_no_damage(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = Path(str(get_testdata_file("DICOMDIR", download=False))).parent
    shutil.copy(folder / "DICOMDIR", tmp_path)
    assert index_folder(tmp_path) == []
    assert not caplog.messages


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    write(ct_series(body((2, 20, 20))), tmp_path / "a")
    (tmp_path / "a" / "again").symlink_to(tmp_path)
    (tmp_path / "gone.dcm").symlink_to(tmp_path / "nothing")
    [series] = index_folder(tmp_path)
    assert len(series.files) == 2


def test_a_list_of_files_is_indexed_alike(tmp_path: Path) -> None:
    files = write(ct_series(body((3, 20, 20))), tmp_path)
    assert index_files(files[::-1]) == index_folder(tmp_path)
