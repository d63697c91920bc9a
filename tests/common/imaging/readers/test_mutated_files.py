"""Whatever a file holds, its study is read or refused with a reason: no crash, no hang, no memory without bound."""

from pathlib import Path

import pytest
from mutation import FORMATS, read_mutated

MEGABYTE = 2**20


@pytest.mark.parametrize("count", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_mutated_files_are_read_or_refused_in_bounded_time_and_memory(count: int, tmp_path: Path) -> None:
    campaigns = read_mutated(count, tmp_path)
    assert set(campaigns) == set(FORMATS)
    for name, campaign in campaigns.items():
        assert campaign.escaped == "", name
        assert campaign.read + campaign.refused == count, name
        assert campaign.refused > 0, name
        assert campaign.slowest < 5, name
        assert campaign.growth < 100 * MEGABYTE, name
