from pathlib import Path

from common.imaging.listing import list_files
from common.imaging.passed_over import passed_over
from common.imaging.patient import StudyLocation
from tests.support.dicom_files import body, ct_series, write


def told(root: Path, *locations: StudyLocation) -> list[tuple[str, int, tuple[str, ...]]]:
    found = passed_over(root, list_files(root), locations)
    assert {one.kind for one in found} <= {"file"}
    return [(one.what, one.count, one.examples) for one in found]


def test_files_of_no_study_are_counted_by_their_suffix_the_most_frequent_first(tmp_path: Path) -> None:
    for name in ("a.nii.gz", "b.nii.gz", "notes.txt", "LICENSE", "sub/c.nii.gz", "sub/d.nii.gz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"1")
    study = StudyLocation("a", tmp_path, (tmp_path / "a.nii.gz",))
    assert told(tmp_path, study) == [
        ("*.nii.gz", 3, ("b.nii.gz", "sub/c.nii.gz", "sub/d.nii.gz")),
        ("*.txt", 1, ("notes.txt",)),
        ("without a suffix", 1, ("LICENSE",)),
    ]


def test_all_below_the_folder_of_a_study_without_a_list_of_files_is_its_own(tmp_path: Path) -> None:
    for name in ("ann/x/1.dcm", "bob/1.dcm"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(b"1")
    assert told(tmp_path, StudyLocation("ann", tmp_path / "ann")) == [("*.dcm", 1, ("bob/1.dcm",))]


def test_tables_that_say_how_a_folder_is_read_belong_to_it(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    for name in ("patients.csv", "dataset.json", "below/patients.csv"):
        (tmp_path / name).write_bytes(b"1")
    assert told(tmp_path) == [("*.csv", 1, ("below/patients.csv",))]


def test_dicom_files_are_told_by_series_whatever_their_names(tmp_path: Path) -> None:
    for folder, modality in (("1", "CT"), ("2", "MR")):
        slices = ct_series(body((3, 32, 32)), modality=modality, description=f"scout {folder}")
        write(slices, tmp_path / folder)
    (tmp_path / "broken.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 40)
    found = told(tmp_path)
    assert [what for what, _, _ in found] == ["DICOM CT 'scout 1'", "DICOM MR 'scout 2'", "DICOM with a damaged header"]
    assert [count for _, count, _ in found] == [3, 3, 1]


def test_a_name_that_is_no_utf8_is_told_as_codes(tmp_path: Path) -> None:
    (tmp_path / b"m\xfcller.txt".decode(errors="surrogateescape")).write_bytes(b"1")
    assert told(tmp_path) == [("*.txt", 1, ("m\\udcfcller.txt",))]
