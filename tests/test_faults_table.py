"""The faults table of docs/coordinator.md: each sentence in it is looked for in a running federation."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TABLE = re.search(
    r"^\| event \|.*?\n\|[-|]+\n(.*?)\n\n", (ROOT / "docs" / "coordinator.md").read_text(), re.MULTILINE | re.DOTALL
)
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in TABLE[1].splitlines()] if TABLE else []
TESTS = " ".join(file.read_text() for file in sorted((ROOT / "tests" / "deployment").glob("test_*.py")))


def plain(text: str) -> str:
    """Without the escapes of a regular expression, and in one line."""
    return re.sub(r"\s+", " ", text.replace("\\", "").replace('" "', ""))


def test_the_table_has_its_rows() -> None:
    assert len(ROWS) >= 12
    assert all(len(row) == 4 for row in ROWS)


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_every_sentence_is_looked_for_in_a_running_federation(row: list[str]) -> None:
    sentences = [sentence for cell in row[1:3] for sentence in re.findall(r"`([^`]+)`", cell)]
    assert sentences, row
    for sentence in sentences:
        assert plain(sentence) in plain(TESTS), sentence
