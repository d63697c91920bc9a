"""Names by a pattern that a hospital writes: letters of any case, and ``*`` for anything."""

import re
from collections.abc import Iterable


def matched(patterns: Iterable[str], name: str) -> re.Match[str] | None:
    """How the first pattern that fits the whole of a name fits it; the groups are what each ``*`` stands for.

    >>> matched(["*_lesion*"], "case_7_LESION")[1]
    'case_7'
    >>> matched(["mask"], "case_mask") is None
    True
    """
    for pattern in patterns:
        expression = "(.*)".join(re.escape(part) for part in pattern.split("*"))
        if match := re.fullmatch(expression, name, re.IGNORECASE | re.DOTALL):
            return match
    return None
