"""``status`` reads of a study's files what those who wrote them meant."""

from pathlib import Path

import pytest

from common.errors import DamagedFileError
from common.results.study import Results, RunInfo, SiteEntry
from common.study.config import compose, to_yaml
from server.operation.study_files import Patience, patience_of, quarantined_in


def test_how_long_a_study_waits_is_what_its_resolved_configuration_says(tmp_path: Path) -> None:
    assert patience_of(tmp_path) == Patience()
    bounds = ["strategy.deadline=7", "strategy.gathering=8", "strategy.returning=9", "strategy.quorum=3"]
    (tmp_path / "config.yaml").write_text(to_yaml(compose(["site=none", *bounds])))
    assert patience_of(tmp_path) == Patience(deadline=7, gathering=8, returning=9, quorum=3)


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
    for name, read in (("config.yaml", patience_of), ("results.json", quarantined_in)):
        (tmp_path / name).write_text(text)
        with pytest.raises(DamagedFileError, match=name):
            read(tmp_path)
