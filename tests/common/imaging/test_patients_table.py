"""``patients.csv`` as people write it, for any reader."""

from collections.abc import Callable
from pathlib import Path

import pytest

from common.errors import DataError
from common.imaging.finding import find_studies, told_of
from common.imaging.patient import StudyLocation
from common.imaging.patients_table import PatientsTable
from common.imaging.readers.brats import BratsReader

NAMES = ("tumour/a.png", "tumour/b.png", "healthy/c.png")
PATIENTS = ["p1", "p2", "p1"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in NAMES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def locations(folder: Path, *names: str) -> list[StudyLocation]:
    return [StudyLocation(name, folder, (folder / name,), patient_known=False) for name in names or NAMES]


def applied(folder: Path, content: str | bytes, found: list[StudyLocation] | None = None) -> list[str]:
    (folder / "patients.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    table = PatientsTable.of(folder, [path for path in folder.rglob("*") if path.is_file()])
    assert table is not None
    named = table.applied(found or locations(folder), "images")
    assert all(one.patient_known for one in named)
    return [one.patient for one in named]


def rows(spell: Callable[[str], str] = str, between: str = ",") -> str:
    return "".join(f"{spell(name)}{between}{who}\r\n" for name, who in zip(NAMES, PATIENTS, strict=True))


@pytest.mark.parametrize(
    "header",
    ["file,patient", "File,Patient", "PATH,Patient ID", "image,patient_id", "filename,SubjectID", "name,subject",
     "folder,patient", "case,patient", "study,Patient-ID", '"file","patient"'],
)  # fmt: skip
def test_the_two_columns_are_known_by_any_usual_name(folder: Path, header: str) -> None:
    assert applied(folder, f"{header}\r\n{rows()}") == PATIENTS


@pytest.mark.parametrize("between", [",", ";", "\t", "|", " ; "])
def test_columns_may_be_parted_by_other_signs(folder: Path, between: str) -> None:
    assert applied(folder, f"file{between}patient\r\n{rows(between=between)}") == PATIENTS


def test_other_columns_and_empty_lines_are_passed_over(folder: Path) -> None:
    content = "id;patient;age;file\n\n1;p1;50;tumour/a.png\n2;p2;;tumour/b.png\n;;;\n3;p1;50;healthy/c.png\n\n"
    assert applied(folder, content) == PATIENTS
    assert applied(folder, f"sep=;\nfile;patient\n{rows(between=';')}") == PATIENTS


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1"])
def test_a_table_is_read_in_any_usual_encoding(folder: Path, encoding: str) -> None:
    content = f"file,patient\n{rows()}".replace("p1", "Müller")
    assert applied(folder, content.encode(encoding)) == ["Müller", "p2", "Müller"]


@pytest.mark.parametrize(
    "spell",
    [
        lambda name: name.replace("/", "\\"),
        lambda name: f"./{name}",
        lambda name: f".\\{name}".replace("/", "\\"),
        lambda name: f'"{name}"',
        lambda name: f"  {name} ",
        lambda name: name.split("/")[1],
        lambda name: name.split(".")[0],
        lambda name: name.split("/")[1].split(".")[0],
        str.upper,
        lambda name: f"/mnt/other/machine/{name}",
        lambda name: f"C:\\Users\\me\\{name}".replace("/", "\\"),
    ],
)
def test_a_file_may_be_spelled_in_any_way_that_names_it(folder: Path, spell: Callable[[str], str]) -> None:
    assert applied(folder, f"file,patient\n{rows(spell)}") == PATIENTS


def test_an_absolute_path_below_the_folder_names_a_file(folder: Path) -> None:
    assert applied(folder, f"file,patient\n{rows(lambda name: str(folder / name))}") == PATIENTS


def test_a_row_may_name_a_folder_or_a_case(folder: Path) -> None:
    assert applied(folder, "folder,patient\ntumour,p1\nhealthy/,p2\n") == ["p1", "p1", "p2"]
    cases = [StudyLocation("Case-A", folder / "tumour"), StudyLocation("Case-B", folder / "healthy")]
    assert applied(folder, "case,patient\ncase-a,p1\nCase-B,p2\n", cases) == ["p1", "p2"]


def test_a_name_that_two_files_have_is_refused_unless_both_are_the_same_patients(folder: Path) -> None:
    (folder / "healthy" / "a.png").write_bytes(b"")
    found = locations(folder, "tumour/a.png", "healthy/a.png")
    with pytest.raises(DataError, match=r"line 2: 'a\.png' may be healthy/a\.png or tumour/a\.png; give"):
        applied(folder, "file,patient\na.png,p1\na.png,p2\n", found)
    assert applied(folder, "file,patient\na.png,p1\na.png,p1\n", found) == ["p1", "p1"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        (rows(), "its first line must name the columns file and patient.*'tumour/a.png,p1'"),
        ("file,age\ntumour/a.png,1\n", "its first line must name the columns file and patient"),
        ("file,patient\ntumour/a.png\n", "line 2: the columns file and patient are both needed, and patient is empty"),
        (f"file,patient\n{rows()},p9\n", "line 5: .*file is empty beside 'p9'"),
        (f"file,patient\n{rows()}tumour/a.png,p9\n", "lines 2 and 5 name two patients for tumour/a.png, 'p1' and 'p9'"),
        ("file,patient\ntumour/a.png,p1\n", "no patient for 2 of 3 images, e.g. tumour/b.png, healthy/c.png; add them"),
        (b"\xff\0\0\x93" * 20, "columns file and patient"),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_used_says_where_and_why(folder: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        applied(folder, content)


def test_the_same_row_twice_does_no_harm(folder: Path) -> None:
    assert applied(folder, f"file,patient\n{rows()}{rows()}") == PATIENTS


def test_rows_of_nothing_are_told_and_rows_of_files_that_no_study_uses_are_not(folder: Path) -> None:
    (folder / "notes.txt").write_text("")
    (folder / "Patients.CSV").write_text(f"file,patient\n{rows()}gone/z.png,p7\nnotes.txt,p8\n")
    files = [path for path in folder.rglob("*") if path.is_file()]
    told = told_of(folder, files, locations(folder))
    assert [(one.what, one.count, one.examples) for one in told] == [
        ("*.txt", 1, ("notes.txt",)),
        ("rows of patients.csv whose file is not there", 1, ("gone/z.png",)),
    ]


def test_the_cases_of_another_reader_get_their_patients_from_the_table(tmp_path: Path, write_case) -> None:
    for case in ("scan1", "scan2", "scan3"):
        write_case(tmp_path, case, {})
    reader = BratsReader("brain", ("flair",))
    (tmp_path / "patients.csv").write_text("case;patient\nscan1;ann\nscan2/;bob\nscan3/scan3_flair.nii.gz;ann\n")
    found = find_studies(reader, tmp_path)
    assert [(one.patient, one.path.name) for one in found] == [("ann", "scan1"), ("ann", "scan3"), ("bob", "scan2")]
    (tmp_path / "patients.csv").write_text("case;patient\nscan1;ann\n")
    with pytest.raises(DataError, match=r"no patient for 2 of 3 studies, e\.g\. scan2/scan2_flair\.nii\.gz"):
        find_studies(reader, tmp_path)
