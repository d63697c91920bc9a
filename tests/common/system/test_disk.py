"""Where a disk is full, or a place cannot be written: one sentence that names it, and nothing half-made."""

import errno
import re
from pathlib import Path

import pytest
from small_disk import small_disk

from common.errors import ConfigError, DiskFullError
from common.system.command import run_command
from common.system.disk import disk_full, require_place, writable
from common.system.files import write_bytes
from simulation.cli import main


def test_a_file_that_finds_no_room_is_named_with_what_is_free_and_needed(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "1m") as folder:
        write_bytes(folder / "kept", b"old")
        with pytest.raises(DiskFullError) as full:
            write_bytes(folder / "kept", bytes(3_000_000))
        told = str(full.value)
        assert told.startswith(f"{folder / 'kept'}: the disk is full (")
        assert ", 3,000,000 are needed)" in told
        free = int(re.search(r"\(([\d,]+) bytes are free", told)[1].replace(",", ""))  # type: ignore[index]
        assert 900_000 < free <= 1 << 20
        assert [file.name for file in folder.iterdir()] == ["kept"]
        assert (folder / "kept").read_bytes() == b"old"


def test_a_command_that_meets_a_full_disk_in_a_library_ends_with_code_4(capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/tmp/somewhere/picture.png")

    assert run_command(command) == 4
    said = capsys.readouterr().err
    assert said.startswith("error: /tmp/somewhere/picture.png: the disk is full (")
    assert len(said.splitlines()) == 1


def test_a_full_disk_without_a_file_is_told_too() -> None:
    assert str(disk_full(OSError(errno.ENOSPC, "x"))).startswith("a disk is full, and a file could not be written; ")


def test_an_option_is_named_where_its_place_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"^--to .*/file: is no folder; name another with --to$"):
        require_place("--to", tmp_path / "file", folder=True)
    with pytest.raises(ConfigError, match=r"^--sheet .*: is a folder"):
        require_place("--sheet", tmp_path, folder=False)
    with pytest.raises(ConfigError, match=r"^--out .*/file/a/b: cannot be made: .*/file is no folder"):
        require_place("--out", tmp_path / "file" / "a" / "b", folder=True)
    with (
        pytest.raises(ConfigError, match=r"^--to .*: cannot be written \(Permission denied\)"),
        writable("--to ", tmp_path),
    ):
        raise PermissionError(errno.EACCES, "Permission denied")
    require_place("--to", tmp_path / "new" / "folder", folder=True)
    assert not (tmp_path / "new").exists()


def test_a_contact_sheet_that_could_not_be_kept_is_refused_before_patients_are_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit) as stop:
        main(["cohort", f"simulation.cache_dir={tmp_path / 'cache'}", "--sheet", str(tmp_path / "file" / "sheet.png")])
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("error: --sheet ")
    assert not (tmp_path / "cache").exists()
