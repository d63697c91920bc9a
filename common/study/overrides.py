"""What a person typed after a command: each ``key=value`` read by itself, so that each is refused as it stands there.

Hydra chooses files (``preset=demo``, ``model=[cgan,wgan_gp]``); values are set afterwards, key by key. So every key
that the schema knows can be given, whether or not a file mentions it, and needs no ``+``.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from common.errors import ConfigError
from common.study.allowed import require_each_once, shown_value
from common.study.experiment import Experiment
from common.system.near_names import did_you_mean
from common.system.outside import printable

TAKEN_OUT = object()
"""The value of ``~key``, which takes one out."""

LISTS = ("organ", "model")
"""Groups of which several files can be chosen."""

_KEY = re.compile(r"[A-Za-z0-9_][\w-]*(\.[\w/-]+)*")
_PLAIN_BACKSLASH = re.compile(r"\\[^\\()\[\]{}:=, \t]")
"""As in paths of Windows; Hydra would leave it out."""

_LONGEST = 20_000
"""Letters of one override."""


@dataclass(frozen=True)
class Override:
    """One value that was given.

    Attributes:
        key: without the sign by which Hydra adds one.
        value: plain.
        text: as it was written.
    """

    key: str
    value: Any
    text: str

    @property
    def adds(self) -> bool:
        """Whether it may name something new."""
        return self.text.startswith("+")


@dataclass(frozen=True)
class Typed:
    """A command line's overrides.

    Attributes:
        choices: of files, and what is taken out (``~site.external``), in Hydra's own words.
        values: everything else, in the order in which it was given.
    """

    choices: tuple[str, ...]
    values: tuple[Override, ...]


def read_overrides(overrides: Sequence[str]) -> Typed:
    """Sorts what was typed.

    Raises:
        ConfigError: for what is no ``key=value``, cannot be read, or chooses a file that is not there.
    """
    choices, values = [], []
    for position, text in enumerate(overrides):
        if len(text) > _LONGEST:
            raise ConfigError(f"{text[:60]}…: has {len(text):,} letters; at most {_LONGEST:,} are read")
        if text.startswith("~") and _KEY.fullmatch(text[1:]) and "." in text:
            values.append(Override(text[1:], TAKEN_OUT, text))
            continue
        if text.startswith("~") or "@" in text.partition("=")[0]:
            choices.append(_readable(text))
            continue
        written, is_set, value = text.partition("=")
        key = written.lstrip("+")
        if not is_set:
            raise _no_value(text, overrides[position - 1] if position else "")
        if not _KEY.fullmatch(key):
            raise ConfigError(
                f"{printable(text)}: {printable(key) or 'nothing'} is no key; write key=value, e.g. seed=2"
            )
        found = _value(key, value, text)
        if key in _groups() and not isinstance(found, dict):
            choices.append(f"{key}={_choice(key, found)}")
        else:
            values.append(Override(key, found, text))
    return Typed(tuple(choices), tuple(values))


def set_value(tree: dict[str, Any], one: Override, named: Sequence[str]) -> None:
    """Puts a value into a plain tree; a mapping is put into the one that is there, key by key.

    Args:
        named: sections whose entries have names of their own; a new one needs a ``+``, or every typing error would be
            one.

    Raises:
        ConfigError: if its place cannot be.
    """
    parts = one.key.split(".")
    if len(parts) > 1 and parts[0] in named and not one.adds and parts[1] not in (tree.get(parts[0]) or {}):
        there = list(tree.get(parts[0]) or {})
        raise ConfigError(
            f"{printable(one.text)}: there is no {parts[0]}.{parts[1]}, only {', '.join(there) or 'none'}; a + before "
            f"it adds one{did_you_mean(parts[1], there)}"
        )
    place: Any = tree
    for part in parts[:-1]:
        above, place = place, place.get(part)
        if place is None:
            place = above[part] = {}
        if not isinstance(place, dict):
            raise ConfigError(f"{printable(one.text)}: {part} is a value, and has no keys below it")
    last = parts[-1]
    if one.value is TAKEN_OUT:
        if last not in place:
            raise ConfigError(f"{printable(one.text)}: there is no {one.key} to take out{did_you_mean(last, place)}")
        del place[last]
        return
    if isinstance(one.value, dict) and isinstance(place.get(last), dict):
        place[last] = _merged(place[last], one.value)
    else:
        place[last] = one.value


def _merged(old: dict[Any, Any], new: dict[Any, Any]) -> dict[Any, Any]:
    both = {key: _merged(old[key], new[key]) for key in old.keys() & new.keys() if _are_mappings(old[key], new[key])}
    return {**old, **new, **both}


def _are_mappings(one: Any, other: Any) -> bool:
    return isinstance(one, dict) and isinstance(other, dict)


@cache
def _groups() -> dict[str, tuple[str, ...]]:
    """Hydra's groups, and the files of each."""
    folders = [one for one in files("configs").iterdir() if one.is_dir() and not one.name.startswith("_")]
    found = {
        folder.name: tuple(sorted(one.name.removesuffix(".yaml") for one in folder.iterdir() if ".yaml" in one.name))
        for folder in folders
    }
    return {name: names for name, names in found.items() if names}


def _choice(group: str, value: Any) -> str:
    """The value of a group in Hydra's words."""
    known = _groups()[group]
    names = value if isinstance(value, list) else [value]
    if isinstance(value, list) and group not in LISTS:
        raise ConfigError(f"{group}={shown_value(value)}: takes one of {', '.join(known)}, no list")
    for name in names:
        if name not in known:
            raise ConfigError(
                f"{group}={shown_value(value)}: there is no {group} {shown_value(name)}; known are {', '.join(known)}"
                f"{did_you_mean(str(name), known)}"
            )
    require_each_once(group, names, "name each once")
    return f"[{','.join(names)}]" if group in LISTS else str(value)


def _value(key: str, value: str, text: str) -> Any:
    """A value in Hydra's grammar, plain.

    Hydra's grammar has no word that begins with ``~``, as a path in the user's home does.

    >>> _value("site.a.path", "~/scans", ""), _value("organs.brain.contrasts", "[t1,t2]", "")
    ('~/scans', ['t1', 't2'])
    """
    if value.startswith("~") and "'" not in value:
        return value
    if _PLAIN_BACKSLASH.search(value) and value[:1] not in ("'", '"', "[", "{"):
        raise _unreadable(key, value, text)
    try:
        parsed = OverridesParser.create().parse_override(f"key={value}")
        if parsed.is_sweep_override():
            raise ConfigError(
                f"{printable(text)}: gives several values; oncofed-simulation sweep runs a study for each. A text with "
                f"a comma is quoted, within the quotes of the shell: {_quoted(key, value)}"
            )
        return parsed.value()
    except (HydraException, ValueError, RecursionError, OverflowError) as error:
        raise _unreadable(key, value, text) from error


def _unreadable(key: str, value: str, text: str) -> ConfigError:
    shown = printable(text, 300)
    if value.count("'") % 2 or value.count('"') % 2:
        return ConfigError(
            f"{shown}: a quote is opened and not closed; quote it anew: {_quoted(key, value.strip(QUOTES))}"
        )
    if value[:1] in ("[", "{"):
        return ConfigError(
            f"{shown}: cannot be read as a list or mapping; brackets must close, and the shell must be kept from it: "
            f"quote it whole, e.g. '{key}=[a,b]' or '{key}={{name: value}}', and texts with other signs than letters, "
            "digits, / . _ - once more"
        )
    return ConfigError(
        f"{shown}: cannot be read: quote it. A value with spaces, brackets, accents or other signs stands in quotes of "
        f"its own, within those of the shell: {_quoted(key, value)}"
    )


QUOTES = "'\""


def _quoted(key: str, value: str) -> str:
    """What to write instead.

    >>> _quoted("name", "a b"), _quoted("name", "it's")
    ('"name=\\'a b\\'"', '\\'name="it\\'\\\\\\'\\'s"\\'')
    """
    value = printable(value, 300)
    if "'" not in value:
        return f"\"{key}='{value}'\""
    return "'" + f'{key}="{value}"'.replace("'", "'\\''") + "'"


def _no_value(text: str, before: str) -> ConfigError:
    """The error of a word without a value; ``before`` is the word to its left, which the shell may have cut it from."""
    shown = printable(text, 300) or "''"
    key, is_set, value = before.partition("=")
    if text.startswith("="):
        return ConfigError(f"{shown}: stands alone; write key=value without spaces around the =")
    if key == text or (is_set and not value):
        return ConfigError(f"{shown}: is no key=value; write {key}={shown}, without spaces around the =")
    found = re.fullmatch(r"([\w.]+):(.*)", text)
    if found:
        return ConfigError(f"{shown}: is no key=value; write {found[1]}={found[2]}")
    if text in (one.name for one in fields(Experiment)):
        is_set = ""
    cut = f"; or, if the shell has cut it from {printable(before)}, quote both: {_quoted(key, f'{value} {text}')}"
    return ConfigError(f"{shown}: is no key=value; write {shown}=VALUE{cut if is_set else ''}")


def _readable(text: str) -> str:
    """``text`` for Hydra, if its grammar knows it."""
    try:
        OverridesParser.create().parse_override(text)
    except (HydraException, ValueError, RecursionError) as error:
        raise ConfigError(
            f"{printable(text, 300)}: cannot be read; write ~key to take one out, or key=value"
        ) from error
    return text
