"""Files and folders that only their owner may read: keys, start-up kits, which hold a token, and runs."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path


def make_private_folder(path: Path) -> None:
    """Makes a folder that only its owner may enter, and those above it alike; what is there already keeps its mode."""
    for missing in reversed([one for one in (path, *path.parents) if not one.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)


@contextlib.contextmanager
def private_by_default() -> Iterator[None]:
    """What this process and its children make within the block is their user's alone, unless they say otherwise.

    It holds for the whole process: for the length of a command, not for a part of one.
    """
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def write_private(path: Path, content: bytes, *, replace: bool = False) -> None:
    """Writes ``path`` with mode 0600 in one step; at no moment can anyone else read it.

    Args:
        path: the file; its folder must be there.
        content: what it holds.
        replace: whether a file of that name makes way.

    Raises:
        FileExistsError: if it is there and must not be replaced; two processes at once cannot get past each other.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            temporary.replace(path)
        else:
            # Unlike a rename, a link never takes the place of what is there.
            os.link(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def readable_by_others(path: Path) -> bool:
    """Whether the group or anyone else may read, write or run ``path``."""
    return bool(path.stat().st_mode & 0o077)
