"""Lists that people save as their editor or table program does."""

from pathlib import Path

import pytest

from client.privacy.trained import trained_before
from client.site import chosen_patients
from common.system.written import listed_names
from tests.support.hospital import Hospital

NAMES = ("case-1-00", "Jörg Ä", "case-1-01")
SAVED = {
    "UTF-8": "utf-8",
    "UTF-8 with a byte-order mark": "utf-8-sig",
    "UTF-16 of Windows": "utf-16",
    "UTF-16 without a mark": "utf-16-le",
    "ANSI of Windows": "cp1252",
}


@pytest.mark.parametrize("encoding", SAVED.values(), ids=SAVED)
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_a_list_of_names_is_read_however_it_was_saved(encoding: str, ending: str, tmp_path: Path) -> None:
    file = tmp_path / "names.txt"
    file.write_bytes("".join(f" {name} {ending}{ending}" for name in NAMES).encode(encoding))
    assert listed_names(file) == NAMES


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_the_first_name_counts_in_every_list_that_a_hospital_writes(encoding: str, tmp_path: Path) -> None:
    """Of those who trained the first would test otherwise, without a word."""
    file = tmp_path / "names.txt"
    file.write_bytes("\r\n".join(NAMES).encode(encoding))
    chosen = Hospital(tmp_path / "one", patients=file).settings
    assert chosen_patients(chosen) == frozenset(NAMES)
    budget = {"epsilon": 8.0, "patients": 10, "trained": file}
    guarded = Hospital(tmp_path / "two", privacy=budget).settings
    assert trained_before(guarded, NAMES[:1]).names == frozenset(NAMES[:1])
