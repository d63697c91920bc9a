"""YAML that may come from anyone: plain values only, and neither size, nesting nor aliases that a reader chokes on.

PyYAML's safe loader builds no objects, but it follows nesting until the stack is full (its C build ends the process),
and aliases of aliases grow to whatever memory there is as soon as their values are copied. Of a key that stands twice
it takes the last, where a person who reads the file may have seen the first.
"""

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any

import yaml

from common.system.outside import printable

MOST_CHARACTERS = 2_000_000
MOST_VALUES = 200_000
"""Values, those that aliases stand for counted each time."""
DEEPEST = 40
LONGEST = 10_000
"""Characters of one value."""

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The C build of the safe loader, ten times as fast."""


_MERGE, _VALUE = "tag:yaml.org,2002:merge", "tag:yaml.org,2002:value"


class UnsafeYamlError(yaml.YAMLError):
    """A text that is refused before it is turned into values; its message repeats none of them."""


class RepeatedKeyError(UnsafeYamlError, yaml.MarkedYAMLError):
    """A key that stands twice in one mapping; the message names it and its lines."""


def read_yaml(text: str) -> Any:
    """The values in ``text``: mappings, lists, strings, numbers, dates, booleans and None.

    Raises:
        yaml.YAMLError: if it is not YAML, names a Python object, has a key twice, or is refused as above.

    >>> read_yaml("{a: &x [1, y], b: *x}")
    {'a': [1, 'y'], 'b': [1, 'y']}
    """
    if len(text) > MOST_CHARACTERS:
        raise UnsafeYamlError(f"it is longer than {MOST_CHARACTERS:,} characters")
    _check(text)
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _require_single_keys(loader, node)
        return loader.construct_document(node)
    except (ValueError, OverflowError) as error:
        # A date or a number that is none: the loader's own errors are others.
        raise UnsafeYamlError("it holds a date or a number that cannot be one") from error
    finally:
        loader.dispose()


@dataclass
class _Open:
    """A mapping or list that is not closed yet: its anchor, its values with all that is in them, and their levels."""

    anchor: str | None
    values: int = 1
    levels: int = 1


def yaml_problem(error: yaml.YAMLError) -> str:
    """Where and what is wrong, on one line, e.g. ``line 3: mapping values are not allowed here``."""
    mark = getattr(error, "problem_mark", None)
    where = f"line {mark.line + 1}: " if mark is not None else ""
    return f"{where}{getattr(error, 'problem', None) or str(error).splitlines()[0]}"


def _check(text: str) -> None:
    """Looks at the events of a parser that keeps its own stack: nothing is built yet."""
    whole = _Open(None)
    stack = [whole]
    known: dict[str, _Open] = {}

    def add(one: _Open) -> None:
        if one.anchor is not None:
            known[one.anchor] = one
        stack[-1].values += one.values
        stack[-1].levels = max(stack[-1].levels, one.levels + 1)
        if stack[-1].values > MOST_VALUES:
            raise UnsafeYamlError(f"it holds more than {MOST_VALUES:,} values")
        if len(stack) + one.levels > DEEPEST:
            raise UnsafeYamlError(f"it is nested deeper than {DEEPEST} levels")

    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in known:
                raise UnsafeYamlError("an alias (*name) stands for nothing, or for what it is itself in")
            add(replace(known[event.anchor], anchor=None))
        elif isinstance(event, yaml.CollectionStartEvent):
            stack.append(_Open(event.anchor))
            if len(stack) > DEEPEST:
                raise UnsafeYamlError(f"it is nested deeper than {DEEPEST} levels")
        elif isinstance(event, yaml.CollectionEndEvent):
            add(stack.pop())
        elif isinstance(event, yaml.ScalarEvent):
            if len(event.value) > LONGEST:
                raise UnsafeYamlError(f"it holds a value longer than {LONGEST:,} characters")
            add(_Open(event.anchor))


def _require_single_keys(loader: Any, root: yaml.Node) -> None:
    """Refuses a key that stands twice in one mapping, however it is spelt; a key that a merge (``<<``) brings may."""
    waiting, seen = [root], {id(root)}
    while waiting:
        node = waiting.pop()
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        lines: dict[object, int] = {}
        for key, _ in pairs:
            if not isinstance(key, yaml.ScalarNode):
                continue
            name = key.value if key.tag in (_MERGE, _VALUE) else loader.construct_object(key)
            if not isinstance(name, Hashable):
                continue
            if name in lines:
                problem = f"the key {printable(key.value, 60)} stands twice (first on line {lines[name]})"
                raise RepeatedKeyError(problem=problem, problem_mark=key.start_mark)
            lines[name] = key.start_mark.line + 1
        below = [part for pair in pairs for part in pair]
        for part in below or (node.value if isinstance(node, yaml.SequenceNode) else []):
            if id(part) not in seen:
                seen.add(id(part))
                waiting.append(part)
