"""A number that was noted is known, whatever happens to the file and the clocks, until it is too old to count."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from client.approval.seen import KEPT, SeenQuestions
from common.errors import RefusalError

NOW = 1_790_000_000.0


def number(one: int) -> str:
    return f"{one:032x}"


@pytest.fixture
def seen(tmp_path: Path) -> SeenQuestions:
    return SeenQuestions(tmp_path / "site" / "questions-seen.txt")


def test_a_number_counts_once_also_in_another_process(seen: SeenQuestions) -> None:
    seen.add(number(1), NOW)
    seen.add(number(2), NOW - 100)
    for one in (1, 2):
        with pytest.raises(RefusalError, match="a copy"):
            SeenQuestions(seen.file).add(number(one), NOW + 5)
    assert seen.file.stat().st_mode & 0o777 == 0o600


def test_of_many_at_once_one_is_the_first(seen: SeenQuestions) -> None:
    def add(_: int) -> bool:
        try:
            seen.add(number(7), NOW)
        except RefusalError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(add, range(40))) == 1


def test_what_is_too_old_to_count_is_forgotten_and_stays_refused(seen: SeenQuestions) -> None:
    for one in range(10):
        seen.add(number(one), NOW + one)
    later = NOW + KEPT + 60
    seen.add(number(11), later)
    seen.add(number(12), later)
    assert len(re.findall(r"[0-9a-f]{32}", seen.file.read_text())) == 2
    # The machine's clock does not matter: the coordinator's has gone on.
    with pytest.raises(RefusalError, match="too long ago"):
        seen.add(number(3), NOW + 3)


def test_half_a_line_of_a_killed_process_does_no_harm(seen: SeenQuestions) -> None:
    seen.add(number(1), NOW)
    with seen.file.open("a") as file:
        file.write("17")
    seen.add(number(2), NOW + 1)
    seen.add(number(3), NOW + 2)
    for one in (1, 2, 3):
        with pytest.raises(RefusalError, match="a copy"):
            seen.add(number(one), NOW + 3)


def test_a_link_is_not_followed(seen: SeenQuestions, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("\n")
    seen.file.parent.mkdir()
    seen.file.symlink_to(precious)
    with pytest.raises(OSError, match="symbolic link"):
        seen.add(number(1), NOW)
    assert precious.read_text() == "\n"
