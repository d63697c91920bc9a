"""``status`` reads of a study's files what those who wrote them meant."""

from pathlib import Path

import pytest

from common.config import compose, to_yaml
from common.errors import DamagedFileError
from common.results import Results, RunInfo, SiteEntry
from server.operation.study_files import deadline_of, quarantined_in


def test_the_deadline_is_that_of_the_resolved_configuration(tmp_path: Path) -> None:
    assert deadline_of(tmp_path) == 0
    (tmp_path / "config.yaml").write_text(to_yaml(compose(["site=none", "strategy.deadline=600"])))
    assert deadline_of(tmp_path) == 600


def test_quarantined_studies_are_those_of_sites_that_tell(tmp_path: Path) -> None:
    assert quarantined_in(tmp_path) == {}
    sites = {
        name: SiteEntry(organ="brain", modality="MR", quarantined=count)
        for name, count in (("hospital1", 2), ("hospital2", 0), ("hospital3", None))
    }
    results = Results(run=RunInfo(name="pilot", seed=1, engine="deployed", started="2030-01-31 10:00"), sites=sites)
    (tmp_path / "results.json").write_text(results.model_dump_json(by_alias=True))
    assert quarantined_in(tmp_path) == {"hospital1": 2}


@pytest.mark.parametrize("text", ["", "[", "null", "{}", "{strategy: {deadline: soon}}", "\x00", "&a [*a]"])
def test_a_damaged_file_is_named(text: str, tmp_path: Path) -> None:
    for name, read in (("config.yaml", deadline_of), ("results.json", quarantined_in)):
        (tmp_path / name).write_text(text)
        with pytest.raises(DamagedFileError, match=name):
            read(tmp_path)
