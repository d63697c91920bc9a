"""Texts that another machine may choose: each is meant for a terminal, a log, a spreadsheet, a page or an eye."""

import re
import unicodedata

OUTSIDE: dict[str, str] = {
    "clears the screen": "\x1b[2J\x1b[Hall is well",
    "changes the window's title": "\x1b]0;all is well\x07",
    "makes a link": "\x1b]8;;https://example.org\x1b\\here\x1b]8;;\x1b\\",
    "comes in eight bits": "\x9b2Jall is well\x9d0;title\x9c",
    "speaks for another site": "no\nhospital1: refused: its key was stolen",
    "speaks for the program": "no\r\nerror: stopped; run rm -r provision",
    "writes over its beginning": "no\rhospital1: all is well",
    "goes back": "no" + "\b" * 40 + "yes",
    "breaks lines as Unicode does": "no\u2028hospital1: gone\u2029hospital1: back\x85hospital1: gone\x0bx\x0cx",
    "holds a zero": "no\x00yes",
    "reads from right to left": "no \u202egnp.exe\u202c \u2066x\u2069 \u200fx\u061cx",
    "hides letters": "hos\u200bpi\u2060tal1\ufeff\u00ad\u180e: fine",
    "holds half a letter": "no \ud800 \udfff",
    "holds letters that are none": "no \ufffe \U0010ffff \ue000",
    "is long": "x" * 100_000,
    "has many lines": "error: x\n" * 10_000,
    "computes": "=1+2",
    "computes with a sign": "+1+2",
    "computes below zero": "-1+2",
    "computes for old spreadsheets": "@SUM(1,2)",
    "computes after a tab": "\t=1+2",
    "computes after a line": "\r=1+2",
    "computes after a space and a line": ' \n=HYPERLINK("https://example.org")',
    "computes in wide letters": "\uff1d1+2",
    "runs a program": "=cmd|'/c calc'!A1",
    "is a script": "<script>alert(1)</script>",
    "leaves an attribute": '" onload="alert(1)" x=\'',
    "leaves a picture": "</text></svg><svg onload=alert(1)>",
    "changes where links lead": "<base href='https://example.org'><form action='https://example.org'>",
    "is a template": "{{ 7*7 }}{% raw %}",
    "is marked up": "[red]all is well[/red][link=https://example.org]x[/link]",
    "closes its quotation": 'no"; hospital1: refused: "yes',
    "is a word of the program": "answered",
    "is another word of the program": "asked",
    "ends like the program's sentence": "it is given its work again",
    "ends like the program's other sentence": "no; it is waited for",
}
"""What each does, and the text."""

COMPUTES = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def odd_characters(text: str, also: str = "\n") -> set[str]:
    """The characters of ``text`` that a terminal obeys or nobody sees, apart from those in ``also``."""
    return {c for c in text if (c not in also and unicodedata.category(c)[0] == "C") or c in "\u2028\u2029"}


def formulae(table: list[list[str]]) -> list[str]:
    """Cells that a spreadsheet would compute: those that are no numbers and begin like a formula."""
    number = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?")
    return [cell for row in table for cell in row if cell.startswith(COMPUTES) and not number.fullmatch(cell)]
