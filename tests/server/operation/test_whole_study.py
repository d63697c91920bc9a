"""The coordinator looks at a study as a simulation does, before it is handed over."""

from pathlib import Path

import pytest

from common.errors import ConfigError
from server.operation.study_checks import checked, composed
from server.reference import PARTS

SITES = {"a": "brain", "b": "brain"}


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("models.cgan.learning_rate=nan", "models.cgan.learning_rate=nan: must be above 0"),
        ("models.cgan.depth=6", "models.cgan.depth=6: needs slices and crops of at least 64 pixels"),
        ("strategy.quorum=3", "strategy.quorum=3: only 2 sites"),
        ("model=[cgan,cgan]", "cgan stands there twice"),
        ("federation.round=3", "federation.round=3: there is no such key; did you mean federation.rounds"),
        ("study.runs=2", "study.runs=2"),
    ],
)
def test_what_could_not_be_carried_out_is_refused_by_its_key(override: str, told: str, tmp_path: Path) -> None:
    for part in PARTS:
        (tmp_path / part).mkdir()
    plain = ["preset=pilot", "models.cgan.runs=1", f"reference.brain.path={tmp_path}"]
    assert checked(composed(plain), SITES).strategy.quorum == 2
    with pytest.raises(ConfigError) as refusal:
        checked(composed([*plain, override]), SITES)
    assert told in str(refusal.value)
