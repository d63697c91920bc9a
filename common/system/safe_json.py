"""JSON that comes from others or that somebody may have edited: of a key that stands twice, none is taken.

Python's and pydantic's readers take the last of them, where a person who reads the text may have seen the first.
"""

import json
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticCustomError

from common.system.outside import printable

Model = TypeVar("Model", bound=BaseModel)


class RepeatedKeyError(ValueError):
    """A key that stands twice in one table; the message names it."""


def read_json_text(text: str | bytes) -> Any:
    """The values in ``text``.

    Raises:
        ValueError: if it is no JSON, or a key stands twice in one table.
        RecursionError: if it is nested beyond all sense.

    >>> read_json_text('{"a": [1, null]}')
    {'a': [1, None]}
    """
    return json.loads(text, object_pairs_hook=_once)


def model_from_json(model: type[Model], text: str | bytes, *, strict: bool | None = None) -> Model:
    """``text`` checked against a pydantic model.

    Raises:
        ValidationError: as ``model_validate_json``, and if a key stands twice in one table.
    """
    made = model.model_validate_json(text, strict=strict)
    try:
        # Second, because pydantic bounds the nesting.
        read_json_text(text)
    except (ValueError, RecursionError) as error:
        fault = PydanticCustomError("repeated_key", "{what}", {"what": str(error)})
        raise ValidationError.from_exception_data(model.__name__, [{"type": fault, "loc": (), "input": ""}]) from error
    return made


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for key, value in pairs:
        if key in table:
            raise RepeatedKeyError(f"the key {printable(key, 60)} stands twice")
        table[key] = value
    return table
