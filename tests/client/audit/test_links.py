"""What a site writes in place goes into its own file, not through a link that somebody laid there."""

from pathlib import Path

import pytest
from hospital import Hospital

from client.audit.log import AuditError, AuditFiles, AuditLog
from common.protocol.actions import NO_SITE, Action
from common.system.files import write_bytes


@pytest.fixture
def files(tmp_path: Path) -> AuditFiles:
    (tmp_path / "site").mkdir()
    return AuditFiles(tmp_path / "site" / "audit.jsonl", tmp_path / ".site-audit-head.json")


@pytest.mark.parametrize("which", ["log", "head"])
@pytest.mark.parametrize("begun", [False, True])
def test_a_link_in_place_of_the_record_is_not_followed(
    tmp_path: Path, files: AuditFiles, which: str, begun: bool
) -> None:
    precious = tmp_path / "precious"
    precious.write_text("")
    if begun:
        AuditLog(files).write("asked")
    link: Path = getattr(files, which)
    link.unlink(missing_ok=True)
    link.symlink_to(precious)
    with pytest.raises(AuditError, match=f"{link.name}: .*link"):
        AuditLog(files).write("asked")
    assert precious.read_text() == ""


def test_a_link_under_the_name_of_a_file_to_be_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    precious = tmp_path / "precious"
    precious.write_text("key")
    monkeypatch.setattr("os.getpid", lambda: 7)
    (tmp_path / ".ledger-head.json.7.partial").symlink_to(precious)
    write_bytes(tmp_path / "ledger-head.json", b"new")
    assert (precious.read_text(), (tmp_path / "ledger-head.json").read_bytes()) == ("key", b"new")


def test_a_link_in_place_of_the_sites_log_stops_the_work_and_names_no_path(tmp_path: Path) -> None:
    site = Hospital(tmp_path)
    precious = tmp_path / "precious"
    precious.write_text("")
    (site.settings.folder / "log.jsonl").symlink_to(precious)
    reply = site.ask(Action.HELLO)
    assert (reply.error.code, reply.error.reason) == (NO_SITE, "the site's own settings cannot be used")
    assert precious.read_text() == ""
