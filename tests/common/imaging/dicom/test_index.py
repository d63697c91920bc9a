"""Series are found by their UIDs, in whatever disorder a folder is."""

import logging
from pathlib import Path

import numpy as np
import pytest
from dicom_files import body, ct_series, segmentation, write

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


def test_a_damaged_header_is_mentioned(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    [path] = write(ct_series(body((1, 20, 20))), tmp_path)
    path.write_bytes(path.read_bytes()[:300])
    with caplog.at_level(logging.WARNING):
        assert index_folder(tmp_path) == []
    assert "000.dcm: passed over" in caplog.text


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    write(ct_series(body((2, 20, 20))), tmp_path / "a")
    (tmp_path / "a" / "again").symlink_to(tmp_path)
    (tmp_path / "gone.dcm").symlink_to(tmp_path / "nothing")
    [series] = index_folder(tmp_path)
    assert len(series.files) == 2


def test_a_list_of_files_is_indexed_alike(tmp_path: Path) -> None:
    files = write(ct_series(body((3, 20, 20))), tmp_path)
    assert index_files(files[::-1]) == index_folder(tmp_path)
