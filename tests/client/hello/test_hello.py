"""What a hello says of files that were not used, and what of it stays at the site."""

from pathlib import Path
from typing import Any

from opening import open_message, parts

from client.data.open_studies import OpenStudy
from client.hello.introduction import introduce
from common.system.files import read_json
from tests.support.hospital import STUDY, Hospital


def opened(hospital: Hospital, **settings: Any) -> OpenStudy:
    return open_message(hospital.settings.model_copy(update=settings), STUDY, "demo")


def notes_about_files(session: OpenStudy) -> list[str]:
    return [note for note in introduce(session.data, session.work).notes if "files hold" in note]


def leave_something(hospital: Hospital) -> None:
    (hospital.settings.path / "Mrs Doe.txt").write_text("by hand")


def test_hello_says_that_something_was_not_used_and_neither_what_nor_how_much(tmp_path: Path) -> None:
    hospital = Hospital(tmp_path)
    assert notes_about_files(opened(hospital)) == []
    leave_something(hospital)
    assert notes_about_files(opened(hospital)) == [
        "not all that its files hold was used: its hospital's own page says which"
    ]


def test_where_counts_are_declared_hello_tells_how_much_of_each_kind(tmp_path: Path) -> None:
    hospital = Hospital(tmp_path)
    leave_something(hospital)
    session = opened(hospital, declare_counts=True)
    assert notes_about_files(session) == ["not all that its files hold was used: files passed over 1"]


def test_the_site_keeps_what_it_was_and_the_coordinator_gets_no_name(tmp_path: Path) -> None:
    hospital = Hospital(tmp_path)
    leave_something(hospital)
    session = opened(hospital, declare_counts=True)
    assert "Doe" not in introduce(session.data, session.work).model_dump_json()
    (kept,) = read_json(session.work.results / "summary.json")["unused"]
    assert kept == {"kind": "file", "what": "*.txt", "count": 1, "examples": ["Mrs Doe.txt"]}


def test_a_site_with_a_privacy_budget_says_nothing_of_it(tmp_path: Path) -> None:
    hospital = Hospital(tmp_path, privacy={"epsilon": 8.0, "patients": 10, "without": "allow"}, declare_counts=True)
    before = introduce(*parts(opened(hospital))).notes
    leave_something(hospital)
    assert introduce(*parts(opened(hospital))).notes == before
