"""The audit log under edits, crashes, neighbours and a full disk."""

import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from client.audit import log as module
from client.audit.log import AuditError, AuditFiles, AuditLog, read_audit


def files_in(folder: Path) -> AuditFiles:
    return AuditFiles(folder / "site" / "audit.jsonl", folder / ".head.json")


def filled(folder: Path, number: int = 4) -> AuditFiles:
    files = files_in(folder)
    for index in range(number):
        AuditLog(files).write("asked", action="train.gan", round=index)
    return files


def events(files: AuditFiles) -> list[str]:
    entries, problem = read_audit(files)
    assert problem is None
    return [entry["event"] for entry in entries]


def test_entries_of_many_processes_make_one_whole_chain(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_writes, args=(files, 20)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert events(files) == ["asked"] * 60


def _writes(files: AuditFiles, number: int) -> None:
    for _ in range(number):
        AuditLog(files).write("asked", flush=False)


def test_it_belongs_to_its_owner_alone(tmp_path: Path) -> None:
    assert filled(tmp_path).log.stat().st_mode & 0o077 == 0


def test_no_log_is_an_empty_one(tmp_path: Path) -> None:
    assert read_audit(files_in(tmp_path)) == ([], None)


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


TAMPERINGS: dict[str, tuple[Callable[[AuditFiles], Any], str]] = {
    "a figure changed": (lambda files: edit(files.log, '"round": 1', '"round": 7'), "line 2 was changed"),
    "the newest line changed": (lambda files: edit(files.log, '"round": 3', '"round": 7'), "line 4 was changed"),
    "a line removed": (
        lambda files: files.log.write_bytes(b"".join(files.log.read_bytes().splitlines(True)[i] for i in (0, 2, 3))),
        "line 2 is not the one that belongs there",
    ),
    "the end cut off": (
        lambda files: files.log.write_bytes(b"".join(files.log.read_bytes().splitlines(True)[:2])),
        "its end was cut off",
    ),
    "the log removed": (lambda files: files.log.unlink(), "its end was cut off"),
    "the head removed": (lambda files: files.head.unlink(), "the second copy of the newest hash is gone"),
}


@pytest.mark.parametrize("how", TAMPERINGS)
def test_what_was_changed_is_named(tmp_path: Path, how: str) -> None:
    files = filled(tmp_path)
    tamper, said = TAMPERINGS[how]
    tamper(files)
    entries, problem = read_audit(files)
    assert problem is not None
    assert said in problem
    if how == "a figure changed":
        assert [entry["round"] for entry in entries] == [0]


@pytest.mark.parametrize("how", ["the newest line changed", "the end cut off", "the log removed", "the head removed"])
def test_what_was_odd_when_it_went_on_stays_in_the_log(tmp_path: Path, how: str) -> None:
    files = filled(tmp_path)
    TAMPERINGS[how][0](files)
    AuditLog(files).write("asked")
    assert events(files)[-2:] == ["noticed", "asked"]


def test_half_a_line_of_a_crash_is_taken_away(tmp_path: Path) -> None:
    files = filled(tmp_path, 2)
    with files.log.open("ab") as file:
        file.write(b'{"entry": {"ev')
    AuditLog(files).write("answered")
    assert events(files) == ["asked", "asked", "answered"]


def test_a_newest_line_that_is_none_refuses_to_go_on(tmp_path: Path) -> None:
    files = filled(tmp_path)
    with files.log.open("ab") as file:
        file.write(b"a line of another hand\n")
    with pytest.raises(AuditError, match="newest line is no line of a chain"):
        AuditLog(files).write("asked")


def test_the_disk_is_waited_for_once_a_second_and_not_for_what_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[int] = []
    now = [100.0]
    monkeypatch.setattr("client.audit.hash_chain.os.fsync", waited.append)
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    log = AuditLog(files_in(tmp_path))
    for passed, flush, expected in ((0.0, False, 0), (0.1, True, 1), (0.5, True, 1), (0.6, True, 2), (9.0, False, 2)):
        now[0] += passed
        log.write("asked", flush=flush)
        assert len(waited) == expected


def test_a_full_disk_is_an_error_and_leaves_the_log_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = filled(tmp_path, 2)
    real = os.write
    monkeypatch.setattr(module.os, "write", lambda descriptor, data: real(descriptor, data[:10]))
    with pytest.raises(AuditError, match=r"cannot be written .*make room on the disk"):
        AuditLog(files).write("asked")
    monkeypatch.undo()
    assert events(files) == ["asked", "asked"]


def test_texts_of_others_cannot_make_a_line_too_long_to_find(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    rude = "\U0001f600\n\x1b[2J" * 100_000
    for _ in range(2):
        AuditLog(files).write("asked", action=rude, message=rude, sent={rude: 1, "b" * 9999: rude})
    assert len(files.log.read_bytes()) < 2 * module._LONGEST_LINE
    assert events(files) == ["asked", "asked"]
