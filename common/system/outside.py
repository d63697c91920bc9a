"""What somebody outside chose to write, made fit for a terminal, a log, a table or a page.

A terminal obeys control characters, a reader takes a new line for a new message, a spreadsheet computes what begins
like a formula. So each text that another machine sent goes through here, once, where it is shown or kept; and what a
person is told is printed from here alone.
"""

import codecs
import io
import json
import re
import sys
import unicodedata
from typing import Any, TextIO

LONGEST = 200
"""Characters that are kept by default of a text."""

LONGEST_LINE = 4000
"""Characters of a line, at most."""

LONGEST_CELL = 10_000
"""Characters in a cell of a table, at most; a spreadsheet takes 32,767."""

_COMPUTED = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a formula begins with, in wide letters too."""

_TYPED = {"–": "-", "—": "-", "−": "-", "…": "...", "“": '"', "”": '"', "’": "'", "ß": "ss", "ø": "o", "ł": "l"}
"""What a typewriter has instead."""

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")

_NOT_PLAIN = re.compile(r"[^\t\n -~]")


def printable(text: object, longest: int = LONGEST) -> str:
    """``text`` on one line, without control, formatting and bidirectional characters, cut to ``longest`` characters.

    >>> printable("no\\x1b[2J\\nerror: stopped")
    'no [2J error: stopped'
    >>> printable("abcdef", longest=4)
    'abc…'
    """
    return line(text, longest).strip()


def line(text: object, longest: int = LONGEST_LINE) -> str:
    """A line as :func:`printable` makes it, with the spaces before it: one of ours, in which others' words may stand.

    >>> line("  hospital2: no\\r\\n")
    '  hospital2: no'
    """
    # Cut first: nobody's gigabyte is looked at character by character.
    given = str(text)
    whole = "".join(c if c.isprintable() else " " for c in given[: longest + 1]).rstrip()
    return whole if len(given) <= longest else f"{whole[: longest - 1]}…"


def uncoloured(text: str) -> str:
    """``text`` without the codes by which programs colour their lines."""
    return _COLOURS.sub("", text)


def quoted(text: object, longest: int = LONGEST) -> str:
    """Somebody's own words inside a sentence of ours, in quotation marks, of which they hold none themselves.

    >>> quoted('no"; hospital1: refused: "yes')
    '"no\\'; hospital1: refused: \\'yes"'
    """
    return f'"{printable(text, longest).replace(chr(34), chr(39))}"'


def in_codes(text: str, width: int = 2000) -> list[str]:
    """Lines in which nothing of ``text`` is hidden or left out: what :func:`line` takes away stands there as a code.

    >>> in_codes("a\\tb\\u202ec"), in_codes("abc", width=2)
    (['a\\\\tb\\\\u202ec'], ['ab', 'c'])
    """
    coded = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    return [coded[start : start + width] for start in range(0, len(coded), width)] or [""]


def csv_cell(value: object) -> object:
    """A value of a CSV file: a text on one line, marked as text where it begins like a formula; all else as it is.

    >>> csv_cell("=1+2"), csv_cell(-1.5), csv_cell("t1\\nt2"), csv_cell(None)
    ("'=1+2", -1.5, 't1 t2', None)
    """
    if not isinstance(value, str):
        return value
    text = printable(value, LONGEST_CELL)
    return f"'{text}" if text.startswith(_COMPUTED) else text


def on_page(html: str) -> str:
    """A whole page without the characters that change how the others are read; its lines stay.

    >>> on_page("<p>no \\u202egnp.exe\\x00</p>")
    '<p>no  gnp.exe </p>'
    """
    # Pictures are long: what is plain ASCII is passed over as a whole.
    return _NOT_PLAIN.sub(lambda found: found[0] if _is_seen(found[0]) else " ", html)


def spell_out(*streams: TextIO) -> None:
    """Has ``streams``, by default this process's own, write what their encoding lacks with the letters that it has.

    >>> terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    >>> spell_out(terminal)
    >>> say("Gößweinstein: 0.5 – 0.7 …, σ", stream=terminal)
    >>> terminal.buffer.getvalue()
    b'Gossweinstein: 0.5 - 0.7 ..., ?\\n'
    """
    for stream in streams or (sys.stdout, sys.stderr):
        # Tests and notebooks put something else in their place, which takes every letter.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_SPELT_OUT)


def _spelt_out(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_nearest, error.object[error.start : error.end])), error.end


def _nearest(letter: str) -> str:
    plain = unicodedata.normalize("NFKD", letter).encode("ascii", "ignore").decode()
    return _TYPED.get(letter, plain or "?")


_SPELT_OUT = "oncofed-spelt-out"
codecs.register_error(_SPELT_OUT, _spelt_out)


def say(*lines: object, stream: TextIO | None = None) -> None:
    """Prints lines for a person, each on its own and at once; on standard output unless told otherwise.

    >>> say("hospital2: no\\x1b[2J\\nhospital1: gone")
    hospital2: no [2J hospital1: gone
    """
    told = stream or sys.stdout
    for one in lines or ("",):
        told.write(f"{line(one)}\n")
    told.flush()


def say_json(value: Any, indent: int | None = None) -> None:
    """Prints a value for a program: JSON in ASCII, in which a control character is a code."""
    sys.stdout.write(f"{json.dumps(value, indent=indent, default=str)}\n")
    sys.stdout.flush()


def _is_seen(letter: str) -> bool:
    """Not so: control, formatting and bidirectional characters, halves of letters, and ends of lines."""
    category = unicodedata.category(letter)
    return category[0] != "C" and category not in ("Zl", "Zp")
