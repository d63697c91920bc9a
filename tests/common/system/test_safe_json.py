"""JSON in which a key stands twice says two things, and is not read."""

import pytest
from pydantic import BaseModel, ValidationError

from common.errors import DamagedFileError
from common.system.files import read_json
from common.system.safe_json import RepeatedKeyError, model_from_json, read_json_text


class Inner(BaseModel):
    min_cell: int = 5


class Outer(BaseModel):
    inner: Inner = Inner()
    more: dict[str, object] = {}


def test_plain_json_is_read() -> None:
    text = '{"inner": {"min_cell": 3}, "more": {"min_cell": [1]}}'
    assert read_json_text(text) == {"inner": {"min_cell": 3}, "more": {"min_cell": [1]}}
    assert model_from_json(Outer, text) == Outer(inner=Inner(min_cell=3), more={"min_cell": [1]})


@pytest.mark.parametrize(
    "text",
    [
        '{"inner": {"min_cell": 5, "min_cell": 1}}',
        '{"more": {"a": [{"min_cell": 1, "min_cell": 1}]}}',
        '{"inner": {"min_cell": 5, "min\\u005fcell": 1}}',
    ],
)
def test_a_key_that_stands_twice_is_named(text: str) -> None:
    with pytest.raises(RepeatedKeyError, match="the key min_cell stands twice"):
        read_json_text(text)
    with pytest.raises(ValidationError, match="the key min_cell stands twice"):
        model_from_json(Outer, text)


@pytest.mark.parametrize("text", ["{", "[" * 100_000, '{"more": {"n": ' + "9" * 5000 + "}}"])
def test_what_no_reader_takes_is_a_fault_of_the_model(text: str) -> None:
    with pytest.raises(ValidationError):
        model_from_json(Outer, text)


def test_a_file_with_a_repeated_key_is_named(tmp_path) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "plan.json"
    file.write_text('{"steps": 1, "steps": 2}')
    with pytest.raises(DamagedFileError, match=r"plan\.json: the key steps stands twice"):
        read_json(file)
