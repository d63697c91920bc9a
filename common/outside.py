"""What somebody outside chose to write, made fit for a terminal, a log, a table or a page.

A terminal obeys control characters, a reader takes a new line for a new message, a spreadsheet computes what begins
like a formula. So each text that another machine sent goes through here, once, where it is shown or kept.
"""

LONGEST = 200
"""Characters that are kept by default."""


def printable(text: object, longest: int = LONGEST) -> str:
    """``text`` on one line, without control, formatting and bidirectional characters, cut to ``longest`` characters.

    >>> printable("no\\x1b[2J\\nerror: stopped")
    'no [2J error: stopped'
    >>> printable("abcdef", longest=4)
    'abc…'
    """
    # Cut first: nobody's gigabyte is looked at character by character.
    given = str(text)
    whole = "".join(c if c.isprintable() else " " for c in given[: longest + 1]).strip()
    return whole if len(given) <= longest else f"{whole[: longest - 1]}…"
