"""Texts that people write, and save with whatever editor or table program they have."""

from pathlib import Path


def decoded(content: bytes) -> str:
    """The text in a file, by its byte-order mark or by what fits.

    Raises:
        ValueError: for bytes that are no text.
    """
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16")
    if b"\0" in content[:200]:
        pairs = content[1:200:2]
        return content.decode("utf-16-le" if pairs.count(0) > len(pairs) // 2 else "utf-16-be")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace") if b"\0" not in content else content.decode("ascii")


def listed_names(file: Path) -> tuple[str, ...]:
    """The names in a list, one a line; empty lines are passed over, and spaces around a name are no part of it.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is no text.
    """
    names = [line.strip() for line in decoded(file.read_bytes()).splitlines()]
    return tuple(name for name in names if name)
