"""What each key of a schema may be: said at the key, beside its default, and looked at for all keys alike."""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from common.errors import ConfigError

ALLOWED = "allowed"
"""The key of a dataclass field's metadata that holds its :class:`Allowed`."""

PRIVATE = "private"
"""The key of a dataclass field's metadata that holds its :class:`Private`."""

MOST_STEPS = 10_000_000
"""Steps of any training; at a hundred a second a day."""

YEAR = 31_536_000.0
"""In seconds: the longest that anything is waited for."""


@dataclass(frozen=True)
class Allowed:
    """What a value may be. Of a list or a mapping: what each of its values may be.

    Attributes:
        words: for a person, after "must be".
        fits: whether one value is allowed.
        length: of a list, where it is fixed.
        ascending: whether no value of a list may be smaller than the one before.
        once: whether no value of a list may stand there twice, and it may not be empty.
    """

    words: str
    fits: Callable[[Any], bool]
    length: int | None = None
    ascending: bool = False
    once: bool = False

    @property
    def sentence(self) -> str:
        """After a list's key and value."""
        if self.length is None:
            return f"must be {self.words}"
        return f"must be {self.length} numbers{', the smaller first' if self.ascending else ''}, each {self.words}"


@dataclass(frozen=True)
class Private:
    """What a value must be where patients are the unit of privacy.

    Attributes:
        values: one of these.
        because: what any other would do to the guarantee.
    """

    values: tuple[Any, ...]
    because: str


def private(*values: Any, because: str) -> dict[str, Any]:
    """Metadata of a key that differential privacy restricts to ``values``; joined to others with ``|``."""
    return {PRIVATE: Private(values, because)}


def not_private(section: Any) -> Iterator[tuple[str, Any, Private]]:
    """The keys of a dataclass whose values no private training may have: key, value and what it must be."""
    for one in fields(section) if is_dataclass(section) else ():
        limit, value = one.metadata.get(PRIVATE), getattr(section, one.name)
        if limit is not None and value not in limit.values:
            yield one.name, value, limit


def between(
    least: float, most: float, *, above: bool = False, below: bool = False, length: int | None = None, up: bool = False
) -> dict[str, Allowed]:
    """Metadata of a number, or of a list of ``length`` of them.

    Args:
        above: whether ``least`` itself is not allowed.
        below: whether ``most`` itself is not.
        up: whether a list must ascend.

    >>> between(0, 1, above=True)[ALLOWED].words, between(1, 5000)[ALLOWED].words
    ('above 0, at most 1', 'from 1 to 5,000')
    """
    if not above and not below:
        words = f"from {_number(least)} to {_number(most)}"
    else:
        words = (
            f"{'above' if above else 'at least'} {_number(least)}, {'below' if below else 'at most'} {_number(most)}"
        )

    def fits(value: float) -> bool:
        return (value > least if above else value >= least) and (value < most if below else value <= most)

    return {ALLOWED: Allowed(words, fits, length, up)}


def one_of(*values: str, once: bool = False) -> dict[str, Allowed]:
    """Metadata of a word, or with ``once`` of a list of different ones, at least one.

    >>> one_of("fedavg", "fedprox")[ALLOWED].words
    'one of fedavg, fedprox'
    """
    return {ALLOWED: Allowed(f"one of {', '.join(values)}", lambda value: value in values, once=once)}


def matching(pattern: str, words: str) -> dict[str, Allowed]:
    """Metadata of a text of one form."""
    return {ALLOWED: Allowed(words, lambda value: re.fullmatch(pattern, value) is not None)}


def require_allowed(section: Any, prefix: str = "") -> None:
    """Refuses a section of a configuration, typed already, if a value in it is not what its key may be.

    Every number must be finite, whatever else its key says.

    Args:
        section: a dataclass.
        prefix: of its keys, e.g. ``models.cgan.``.

    Raises:
        ConfigError: naming the whole key, the value and what is allowed.
    """
    for one in fields(section):
        _look(getattr(section, one.name), f"{prefix}{one.name}", one.metadata.get(ALLOWED))


def _look(value: Any, key: str, allowed: Allowed | None) -> None:
    if is_dataclass(value):
        require_allowed(value, f"{key}.")
    elif isinstance(value, dict):
        for name, entry in value.items():
            # What readers and models are told is looked at where their own types are known.
            if is_dataclass(entry) or allowed is not None:
                _look(entry, f"{key}.{name}", allowed)
    elif isinstance(value, list):
        _look_at_list(value, key, allowed)
    elif value is not None:
        _look_at_one(value, key, allowed, value)


def _look_at_list(values: list[Any], key: str, allowed: Allowed | None) -> None:
    for position, value in enumerate(values):
        if is_dataclass(value):
            require_allowed(value, f"{key}[{position}].")
        else:
            _look_at_one(value, key, allowed, values)
    if allowed is None:
        return
    if allowed.length is not None and len(values) != allowed.length:
        raise refused(key, values, allowed.sentence)
    if allowed.ascending and values != sorted(values):
        raise refused(key, values, allowed.sentence)
    if allowed.once:
        require_each_once(key, values, "name each once")
        if not values:
            raise refused(key, values, f"must name at least {allowed.words}")


def _look_at_one(value: Any, key: str, allowed: Allowed | None, shown: Any) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and not _finite(value):
        raise refused(key, shown, allowed.sentence if allowed else "must be a finite number")
    if allowed is not None and not allowed.fits(value):
        raise refused(key, shown, allowed.sentence)


def require_each_once(key: str, values: object, allowed: str) -> None:
    """Refuses a list in which a value stands twice.

    Raises:
        ConfigError: naming it.
    """
    if isinstance(values, list) and (twice := next((one for one in values if values.count(one) > 1), None)) is not None:
        raise refused(key, values, f"{shown_value(twice)} stands there twice; {allowed}")


def require(holds: bool, key: str, value: object, allowed: str) -> None:
    """Refuses ``value`` unless something ``holds``.

    Raises:
        ConfigError: of :func:`refused`.
    """
    if not holds:
        raise refused(key, value, allowed)


def refused(key: str, value: object, allowed: str) -> ConfigError:
    """The error of a value that is not allowed.

    >>> str(refused("federation.rounds", 0, "must be at least 1"))
    'federation.rounds=0: must be at least 1'
    """
    return ConfigError(f"{key}={shown_value(value)}: {allowed}")


def shown_value(value: object) -> str:
    """A value as it is written on a command line; a long one is cut.

    >>> shown_value([1.0, "a"]), shown_value(None), shown_value(True), shown_value("")
    ('[1,a]', 'null', 'true', "''")
    """
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, list):
        return f"[{','.join(map(shown_value, value))}]"
    if isinstance(value, int) and value.bit_length() > 400:
        return f"a number of about {round(value.bit_length() * math.log10(2))} digits"
    text = str(int(value)) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else str(value)
    if text == "":
        return "''"
    return text if len(text) <= 120 else f"{text[:120]}…"


def _finite(value: float) -> bool:
    return isinstance(value, int) or math.isfinite(value)


def _number(value: float) -> str:
    """
    >>> _number(10_000_000), _number(0.5), _number(1e-6), _number(31_536_000.0)
    ('10,000,000', '0.5', '1e-06', '31,536,000')
    """
    return f"{int(value):,}" if value == int(value) and abs(value) < 1e15 else f"{value:g}"


DEVICE = matching(r"cpu|cuda(:\d{1,4})?", "cpu, cuda or cuda:<index>")

RATE = between(0, 1e6, above=True)
"""Of learning; what is too high shows in the first rounds, and is told there."""

WEIGHT = between(0, 1e6)
"""Of a loss; 0 leaves it out."""

SEED = {ALLOWED: Allowed("below 2^63, with or without a minus", lambda value: abs(value) < 2**63)}

WIDTH = between(1, 2048)
"""Channels of a network; how large the whole may become, ``server/whole_study.py`` says."""
