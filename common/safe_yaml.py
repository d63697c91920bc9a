"""YAML that may come from anyone: plain values only, and neither size, nesting nor aliases that a reader chokes on.

PyYAML's safe loader builds no objects, but it follows nesting until the stack is full (its C build ends the process),
and aliases of aliases grow to whatever memory there is as soon as their values are copied.
"""

from typing import Any

import yaml

MOST_CHARACTERS = 2_000_000
DEEPEST = 40
LONGEST = 10_000
"""Characters of one value."""

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The C build of the safe loader, ten times as fast."""


class UnsafeYamlError(yaml.YAMLError):
    """A text that is refused before it is turned into values; its message repeats none of them."""


def read_yaml(text: str) -> Any:
    """The values in ``text``: mappings, lists, strings, numbers, dates, booleans and None.

    Raises:
        yaml.YAMLError: if it is not YAML, names a Python object, or is refused as above.

    >>> read_yaml("a: [1, x]")
    {'a': [1, 'x']}
    """
    if len(text) > MOST_CHARACTERS:
        raise UnsafeYamlError(f"it is longer than {MOST_CHARACTERS:,} characters")
    # The events come from a parser that keeps its own stack: nothing is built yet.
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            raise UnsafeYamlError("it holds an alias (*name); write the value out")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEEPEST:
                raise UnsafeYamlError(f"it is nested deeper than {DEEPEST} levels")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.ScalarEvent) and len(event.value) > LONGEST:
            raise UnsafeYamlError(f"it holds a value longer than {LONGEST:,} characters")
    try:
        return yaml.load(text, Loader=_Loader)
    except (ValueError, OverflowError) as error:
        # A date or a number that is none: the loader's own errors are others.
        raise UnsafeYamlError("it holds a date or a number that cannot be one") from error
