"""What an operator reads of the site's record while its node runs."""

from pathlib import Path

from client.audit.log import AuditFiles, AuditLog
from client.node.record import RecordTail

ABOUT = {"run": "pilot", "phase": "gan/cgan", "round": 3, "model": "cgan"}


def test_what_was_asked_and_what_came_of_it_is_told_once(tmp_path: Path) -> None:
    files = AuditFiles(tmp_path / "audit.jsonl", tmp_path / "head.json")
    log, told = AuditLog(files), list[str]()
    log.write("asked", message="0", action="query.hello")
    record = RecordTail(files.log, told.append)
    record.follow()
    assert told == []
    log.write("asked", message="1", action="train.gan", **ABOUT)
    record.follow()
    log.write("answered", message="1", sent={"arrays": 1234567, "config": 80})
    log.write("asked", message="2", action="evaluate.arms", **ABOUT)
    log.write("refused", message="2", reason="its hospital does not allow this action")
    log.write("failed", message="0", reason="it ran out of memory")
    log.write("node started", arguments="[]")
    record.follow()
    record.follow()
    assert told == [
        "asked: train.gan (gan/cgan, round 3, study pilot)",
        "answered: train.gan, sent arrays (1,234,567 bytes), config (80 bytes)",
        "asked: evaluate.arms (gan/cgan, round 3, study pilot)",
        "refused: evaluate.arms, its hospital does not allow this action",
        "failed: a message, it ran out of memory",
    ]


def test_half_a_line_is_waited_for_a_new_log_is_read_and_what_is_no_entry_left_out(tmp_path: Path) -> None:
    file, told = tmp_path / "audit.jsonl", list[str]()
    record = RecordTail(file, told.append)
    record.follow()
    file.write_bytes(b'{"entry": {"event": "asked", "message": "1", ')
    record.follow()
    assert told == []
    with file.open("ab") as more:
        more.write(
            b'"action": "train.gan"}}\n[]\n1\n{"entry": 3}\n{"entry": {"event": []}}\n\xff\n' + b"[" * 100_000 + b"\n"
        )
    record.follow()
    assert told == ["asked: train.gan"]
    file.write_bytes(b'{"entry": {"event": "answered", "message": "1", "sent": 3}}\n')
    record.follow()
    assert told[1:] == ["answered: train.gan, sent nothing"]


def test_what_a_coordinator_chose_is_shown_on_one_line(tmp_path: Path) -> None:
    files = AuditFiles(tmp_path / "audit.jsonl", tmp_path / "head.json")
    log, told = AuditLog(files), list[str]()
    record = RecordTail(files.log, told.append)
    log.write("asked", message="1", action="query.x", phase="\x1b[2J\nerror: stopped", run="\u202e" * 300, round=1)
    record.follow()
    assert len(told) == 1
    assert told[0].isprintable()
    assert len(told[0]) <= 500
