"""Which values of a 2D mask are tumour, as the options ``tumour_values`` and ``other_values`` say it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

from common.errors import ConfigError

Value = float | tuple[int, int, int]
"""A grey value or index of a palette, or a colour."""

_COLOUR = re.compile(r"#([0-9a-f]{6}|[0-9a-f]{3})", re.IGNORECASE)


@dataclass(frozen=True)
class MaskValues:
    """What the site says of its masks; both empty where they have two values anyway."""

    tumour: tuple[Value, ...] = ()
    other: tuple[Value, ...] = ()

    @staticmethod
    def of(tumour: Any, other: Any) -> "MaskValues":
        """The two options of a reader.

        >>> MaskValues.of(["#f00", 2], [[0, 0, 255], "1"])
        MaskValues(tumour=((255, 0, 0), 2.0), other=((0, 0, 255), 1.0))

        Raises:
            ConfigError: if one is no list of numbers and colours, a value is in both, or there are only others.
        """
        values = MaskValues(_parsed("tumour_values", tumour), _parsed("other_values", other))
        both = set(values.tumour) & set(values.other)
        if both:
            raise ConfigError(
                f"tumour_values and other_values both hold {named(both.pop())}; a value is one or the other"
            )
        if values.other and not values.tumour:
            raise ConfigError("other_values says what is no tumour; give tumour_values too, e.g. tumour_values: [2]")
        return values


def named(value: Value) -> str:
    """A value as it is written in ``site.yaml``.

    >>> named(127.0), named((255, 0, 0))
    ('127', '#ff0000')
    """
    return f"{value:g}" if isinstance(value, float) else "#{:02x}{:02x}{:02x}".format(*value)


def _parsed(option: str, given: Any) -> tuple[Value, ...]:
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise ConfigError(f'{option} is a list of grey values or colours, e.g. {option}: [2] or {option}: ["#ff0000"]')
    return tuple(_value(option, one) for one in given)


def _value(option: str, given: Any) -> Value:
    if isinstance(given, Real) and not isinstance(given, bool):
        return float(given)
    if isinstance(given, str) and (match := _COLOUR.fullmatch(given.strip())):
        digits = match[1] if len(match[1]) == 6 else "".join(2 * digit for digit in match[1])
        red, green, blue = bytes.fromhex(digits)
        return red, green, blue
    if isinstance(given, str) and re.fullmatch(r"-?\d+(\.\d+)?", given.strip()):
        return float(given)
    if isinstance(given, Sequence) and not isinstance(given, str) and len(given) == 3:
        red, green, blue = given
        if all(isinstance(one, int) and not isinstance(one, bool) and 0 <= one <= 255 for one in given):
            return red, green, blue
    raise ConfigError(
        f'{option} holds {given!r}; give grey values such as 2, or colours such as "#ff0000" (in quotation marks) or '
        "[255, 0, 0]"
    )
