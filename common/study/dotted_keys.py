"""The keys of a tree as they are written on a command line."""

from collections.abc import Mapping
from typing import Any


def flat(tree: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """A tree by dotted keys; lists and empty mappings are values.

    >>> flat({"a": {"b": 1, "c": [1, 2]}, "d": {}})
    {'a.b': 1, 'a.c': [1, 2], 'd': {}}
    """
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{above}{key}.")
        else:
            found[f"{above}{key}"] = value
    return found
