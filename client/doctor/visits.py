"""Names that look like several visits of one patient: equal but for their last part."""

import re
from collections import defaultdict
from collections.abc import Sequence

_MOST_VISITS = 6
_PARTS = re.compile(r"(.+?)[\s._-]+([^\s._-]+)")
_MARKED = re.compile(r"(.*\d)([A-Za-z]{1,4}\d{0,2})")
_DATE = re.compile(r"(19|20)\d{2}(0[1-9]|1[0-2])\d{2}|(19|20)\d{2}")


def visits(names: Sequence[str]) -> list[list[str]]:
    """Groups of names that are equal but for the last part; plain numbering is none of them.

    >>> visits(["P01-a", "P01-b", "P02-a", "P03-a"])
    [['P01-a', 'P01-b']]
    >>> visits(["case_001", "case_002", "case_003"])
    []
    """
    groups: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for name in sorted(names):
        if found := _PARTS.fullmatch(name) or _MARKED.fullmatch(name):
            groups[found[1].casefold()].append((name, found[2]))
    found_groups = [
        [name for name, _ in group]
        for stem, group in groups.items()
        if 2 <= len(group) <= _MOST_VISITS and _like_visits(stem, [last for _, last in group], len(names))
    ]
    return sorted(found_groups)


def _like_visits(stem: str, lasts: Sequence[str], patients: int) -> bool:
    """Whether the stem names a person and not the data set: the last parts are no serial number under a word, and the
    stem is not that of most patients."""
    if len({last.casefold() for last in lasts}) < len(lasts):
        return False  # The same name, written otherwise.
    serial = all(last.isdecimal() and len(last) >= 3 and not _DATE.fullmatch(last) for last in lasts)
    if serial and not re.search(r"\d{3}", stem):
        return False
    if 2 * len(lasts) <= patients or (len(lasts) < patients and re.search(r"\d{3}", stem)):
        return True
    return bool(re.search(r"\d", stem)) and not all(last.isdecimal() and len(last) >= 2 for last in lasts)
