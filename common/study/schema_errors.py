"""What a misfit of the schema is told: the whole key, the value, what is allowed, what may have been meant."""

import dataclasses
import sys
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from omegaconf.errors import ConfigAttributeError, ConfigKeyError, ConfigTypeError, OmegaConfBaseException

from common.errors import ConfigError
from common.study.allowed import ALLOWED, refused
from common.study.dotted_keys import flat
from common.study.renamed import RENAMED
from common.system.near_names import near_names

_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}

_MOST_SHOWN = 40
"""Keys of a section that are listed where one is unknown."""


def require_shape(tree: Any, hint: Any, key: str = "") -> None:
    """Refuses mappings, lists and single values that stand in each other's place: OmegaConf does not say where.

    Args:
        tree: plain; unknown keys in it are OmegaConf's to find.
        hint: what it is to become.
        key: of it.

    Raises:
        ConfigError: naming the key and the value.
    """
    kind = _without_none(hint)
    if tree is None or (isinstance(tree, str) and "${" in tree):
        return
    mapping, several = (
        dataclasses.is_dataclass(kind) or typing.get_origin(kind) is dict,
        typing.get_origin(kind) is list,
    )
    too_large = kind is float and isinstance(tree, int) and abs(tree) > sys.float_info.max
    single = kind in _WORDS and isinstance(tree, dict | list)
    if (mapping and not isinstance(tree, dict)) or (several and not isinstance(tree, list)) or single or too_large:
        raise refused(key, tree, f"must be {_words(hint)}")
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        for name in tree.keys() & hints.keys():
            require_shape(tree[name], hints[name], f"{key}.{name}" if key else name)
    elif mapping:
        for name, value in tree.items():
            require_shape(value, typing.get_args(kind)[1], f"{key}.{name}")
    elif several:
        for position, value in enumerate(tree):
            require_shape(value, typing.get_args(kind)[0], f"{key}[{position}]")


def misfit(error: Exception, tree: Any, schema: type, prefix: str = "", also: Sequence[str] = ()) -> ConfigError:
    """The error of ``tree``, which cannot be merged into ``schema``.

    Args:
        error: OmegaConf's.
        tree: plain, of what was given.
        schema: a dataclass.
        prefix: of its keys, e.g. ``models.cgan.``.
        also: keys that may stand beside those of ``schema``.
    """
    inner = str(getattr(error, "full_key", None) or "")
    path = _parts(inner)
    if not path:
        return ConfigError(f"{prefix.rstrip('.') or 'the configuration'}: {_first_line(error)}")
    value = _at(tree, path)
    while isinstance(value, dict) and len(value) == 1 and _hint_at(schema, path) is None:
        # The whole key, as it was written: only its first part is unknown.
        path = [*path, str(next(iter(value)))]
        value, inner = value[path[-1]], f"{inner}.{path[-1]}"
    if isinstance(error, ConfigKeyError | ConfigAttributeError) and _hint_at(schema, path) is None:
        siblings = [*(_names_at(schema, path[:-1])), *(also if len(path) == 1 else ())]
        known = [*_leaves(schema, prefix), *flat(tree, prefix)]
        return unknown_key(f"{prefix}{inner}", value, siblings, known)
    hint, allowed = _hint_at(schema, path) or (None, None)
    if hint is None or (isinstance(error, ConfigTypeError) and not isinstance(value, dict | list)):
        return refused(f"{prefix}{inner}", value, _first_line(error))
    words = _words(hint)
    return refused(f"{prefix}{inner}", value, f"must be {words}{f', {allowed.words}' if allowed else ''}")


def unknown_key(key: str, value: object, siblings: Iterable[str], known: Iterable[str] = ()) -> ConfigError:
    """The error of a key that the schema does not know.

    Args:
        siblings: keys that there are in its place.
        known: whole keys; where no sibling looks like it, those with the same last word are.
    """
    above, _, last = key.rpartition(".")
    start = f"{above}." if above else ""
    names = list(siblings)
    if RENAMED.get(last) in names:
        return refused(key, value, f"is called {start}{RENAMED[last]} now")
    known = [one for one in dict.fromkeys(known) if one != key]
    meant = [f"{start}{name}" for name in near_names(last, names)] or near_names(key, known, 0.85)
    if not meant:
        by_last: dict[str, list[str]] = {}
        for one in known:
            by_last.setdefault(one.rpartition(".")[2], []).append(one)
        near = [last] if last in by_last else near_names(last, by_last)[:1]
        meant = [one for name in near for one in by_last[name]][:4]
    there = ", ".join(names[:_MOST_SHOWN])
    told = f"; did you mean {' or '.join(meant)}?" if meant else f"; {above or 'a study'} has {there}" if there else ""
    return refused(key, value, f"there is no such key{told}")


def _leaves(schema: type, prefix: str) -> Iterator[str]:
    """Whole keys of all values below a dataclass; those of named entries are in the tree."""
    for name, hint in typing.get_type_hints(schema).items():
        if dataclasses.is_dataclass(hint):
            assert isinstance(hint, type)
            yield from _leaves(hint, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _first_line(error: Exception) -> str:
    cause = error if isinstance(error, OmegaConfBaseException) else (error.__cause__ or error)
    return next((line.strip().rstrip(".") for line in str(cause).splitlines() if line.strip()), type(cause).__name__)


def _parts(key: str) -> list[str]:
    """
    >>> _parts("organs.brain.steps.window[0]")
    ['organs', 'brain', 'steps', 'window', '0']
    """
    return [part for part in key.replace("[", ".").replace("]", "").split(".") if part]


def _at(tree: Any, path: list[str]) -> Any:
    for part in path:
        if isinstance(tree, Mapping):
            tree = tree.get(part)
        elif isinstance(tree, list) and part.isdigit() and int(part) < len(tree):
            tree = tree[int(part)]
        else:
            return tree
    return tree


def _hint_at(schema: Any, path: list[str]) -> tuple[Any, Any] | None:
    """The type at ``path`` below a dataclass, and what else is said of it; None if nothing is there."""
    hint, allowed = schema, None
    for part in path:
        hint = _without_none(hint)
        if dataclasses.is_dataclass(hint):
            found = {one.name: one for one in dataclasses.fields(hint)}.get(part)
            if found is None:
                return None
            hint, allowed = typing.get_type_hints(hint)[part], found.metadata.get(ALLOWED)
        elif typing.get_origin(hint) in (dict, list):
            hint = typing.get_args(hint)[-1]
        else:
            return None
    return hint, allowed


def _names_at(schema: Any, path: list[str]) -> list[str]:
    found = _hint_at(schema, path)
    hint = _without_none(found[0]) if found else None
    return [one.name for one in dataclasses.fields(hint)] if dataclasses.is_dataclass(hint) else []


def _without_none(hint: Any) -> Any:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return next(one for one in typing.get_args(hint) if one is not type(None))
    return hint


def _words(hint: Any) -> str:
    plain, ending = _without_none(hint), ""
    if plain is not hint:
        ending = " or null"
    if plain in _WORDS:
        return f"{_WORDS[plain]}{ending}"
    if typing.get_origin(plain) is list:
        item = typing.get_args(plain)[0]
        return f"a list of {_plural(item)} in brackets{ending}"
    if typing.get_origin(plain) is dict:
        return f"a mapping, {{name: value}}{ending}"
    if dataclasses.is_dataclass(plain):
        return f"a section, with the keys {', '.join(one.name for one in dataclasses.fields(plain))}{ending}"
    return f"of another type{ending}"


def _plural(item: Any) -> str:
    return {int: "whole numbers", float: "numbers", str: "words"}.get(item, "mappings")
