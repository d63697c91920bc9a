"""No file executes anything, whatever it holds: it is refused by name, in bounded memory and without a hang."""

from pathlib import Path

import pytest
from hostile_corpus import Outcome, Payload, all_cases, read_corpus
from hostile_tensors import unpickled

MEGABYTE = 2**20


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    return read_corpus(tmp_path_factory.mktemp("corpus"))


def test_the_payload_would_work(tmp_path: Path) -> None:
    payload = Payload(tmp_path / "canary")
    unpickled(payload)
    assert payload.canary.exists()


@pytest.mark.parametrize("name", all_cases())
def test_a_hostile_file_executes_nothing_and_is_refused_by_name(name: str, outcomes: dict[str, Outcome]) -> None:
    case = all_cases()[name]
    assert name in outcomes, f"the process ended at {list(outcomes)[-1]}: {list(outcomes.values())[-1].text}"
    outcome = outcomes[name]
    assert not outcome.executed
    assert outcome.how == ("read" if case.is_read else "refused"), outcome.text
    assert case.says in outcome.text, outcome.text
    assert outcome.growth < 300 * MEGABYTE
