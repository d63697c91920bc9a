"""What somebody may have meant who wrote a name that is not known."""

from collections.abc import Iterable
from difflib import get_close_matches

_MOST = 3


def near_names(name: str, known: Iterable[str], alike: float = 0.6) -> list[str]:
    """The known names that look like ``name``, the likeliest first; ``alike`` is 0 for all and 1 for the same only.

    >>> near_names("dmo", ["demo", "paper"]), near_names("Ray", ["ray"]), near_names("xyz", ["demo"])
    (['demo'], ['ray'], [])
    """
    by_folded = {one.casefold(): one for one in known}
    return [by_folded[one] for one in get_close_matches(name.casefold(), by_folded, _MOST, alike)]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a sentence; empty where nothing known looks like it.

    >>> did_you_mean("dmo", ["demo", "paper"])
    '; did you mean demo?'
    """
    near = near_names(name, known)
    return f"; did you mean {' or '.join(near)}?" if near else ""
