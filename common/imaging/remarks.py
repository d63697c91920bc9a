"""What a folder holds that was not taken up, or was read on a guess: told to the hospital, so that nothing is missing
without a word."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["file", "outline", "value", "slice", "guess"]

TITLES: Mapping[Kind, str] = {
    "file": "files passed over",
    "outline": "outlines that nothing asks for",
    "value": "mask values not taken as tumour",
    "slice": "slices left out",
    "guess": "read on a guess",
}
"""What each kind of remark is about, in the order in which they are told."""

_EXAMPLES = 3
_NAMED = 4


@dataclass(frozen=True)
class Remark:
    """One thing about one study.

    Attributes:
        kind: a key of ``TITLES``.
        what: in a few words that are the same for every study of which it holds, so that it can be counted, e.g.
            ``"portal vein"`` or ``"the header states no orientation, taken as RAS"``; no name of a file or patient.
        count: how many slices, for kind ``slice``; 1 for any other.
    """

    kind: Kind
    what: str
    count: int = 1


@dataclass(frozen=True)
class Question:
    """What the hospital has to say before a study can be used: it would count as tumour-free, and may not be.

    Attributes:
        about: the name of an outline or the value of a label.
        options: the reader's options of which one answers it, each a list that ``about`` is put into; the last one is
            for what is no tumour.
    """

    about: str
    options: tuple[str, ...]


@dataclass(frozen=True)
class Tally:
    """One remark over a whole folder.

    Attributes:
        count: of studies; of files for kind ``file``, of slices for kind ``slice``.
        examples: a few of them, by patient or path below the folder.
    """

    kind: Kind
    what: str
    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class OpenQuestion:
    """One question over a whole folder, with the number of studies that wait for its answer."""

    about: str
    options: tuple[str, ...]
    count: int
    examples: tuple[str, ...]


def tallied(found: Iterable[tuple[Remark, str]]) -> tuple[Tally, ...]:
    """(remark, where) pairs counted, kind by kind, the most frequent first.

    >>> tallied([(Remark("outline", "aorta"), "ann"), (Remark("outline", "aorta"), "bob")])
    (Tally(kind='outline', what='aorta', count=2, examples=('ann', 'bob')),)
    """
    places: dict[tuple[Kind, str], list[str]] = defaultdict(list)
    counts: Counter[tuple[Kind, str]] = Counter()
    for remark, where in found:
        places[remark.kind, remark.what].append(where)
        counts[remark.kind, remark.what] += remark.count
    order = list(TITLES)
    ranked = sorted(places.items(), key=lambda item: (order.index(item[0][0]), -counts[item[0]], item[0][1]))
    return tuple(Tally(*one, counts[one], tuple(where[:_EXAMPLES])) for one, where in ranked)


def open_questions(found: Iterable[tuple[Question, str]]) -> tuple[OpenQuestion, ...]:
    """(question, where) pairs counted, the most frequent first."""
    places: dict[Question, list[str]] = defaultdict(list)
    for question, where in found:
        places[question].append(where)
    ranked = sorted(places.items(), key=lambda item: (item[0].options, -len(item[1]), item[0].about))
    return tuple(OpenQuestion(one.about, one.options, len(where), tuple(where[:_EXAMPLES])) for one, where in ranked)


def unused_sentences(tallies: Iterable[Tally]) -> list[str]:
    """One sentence a kind, for a person at the hospital.

    >>> unused_sentences([Tally("outline", "aorta", 2, ("ann", "bob")), Tally("outline", "vein", 1, ("ann",))])
    ['Outlines that nothing asks for: aorta (2, e.g. ann), vein (1, e.g. ann).']
    """
    by_kind: dict[Kind, list[Tally]] = defaultdict(list)
    for one in tallies:
        by_kind[one.kind].append(one)
    sentences = []
    for kind, some in by_kind.items():
        told = ", ".join(f"{one.what} ({one.count}, e.g. {one.examples[0]})" for one in some[:_NAMED])
        more = f" and {len(some) - _NAMED} more" if len(some) > _NAMED else ""
        title = TITLES[kind]
        sentences.append(f"{title[0].upper()}{title[1:]}: {told}{more}.")
    return sentences


def counted_by_kind(tallies: Iterable[Tally]) -> str:
    """Numbers alone, without a name of anything: what may be told where counts are declared.

    >>> counted_by_kind([Tally("outline", "aorta", 2, ("ann",)), Tally("outline", "vein", 1, ("ann",))])
    'outlines that nothing asks for 3'
    """
    counts: dict[Kind, int] = defaultdict(int)
    for one in tallies:
        counts[one.kind] += one.count
    return ", ".join(f"{TITLES[kind]} {count}" for kind, count in counts.items())
