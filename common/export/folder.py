"""A folder that is either whole or not there: filled beside its place, then renamed."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.errors import ConfigError


@contextmanager
def new_folder(target: Path, *, mark: str, replace: bool = False) -> Iterator[Path]:
    """A folder to fill, which takes the place of ``target`` when the block ends without an error.

    Args:
        target: where the result shall be; its parents are made.
        mark: a file that every folder of this kind holds. Nothing without it is ever removed.
        replace: whether an earlier result may be replaced.

    Raises:
        ConfigError: if ``target`` is a file, or holds something that may not be replaced.
    """
    target = target.absolute()
    occupied = is_occupied(target, mark, replace)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    earlier = target.with_name(f".{target.name}.{os.getpid()}.earlier")
    partial.mkdir()
    try:
        yield partial
        if occupied:
            target.rename(earlier)
        elif target.exists():
            target.rmdir()
        try:
            partial.rename(target)
        except OSError:
            if occupied:
                earlier.rename(target)
            raise
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    if occupied:
        shutil.rmtree(earlier)


def is_occupied(target: Path, mark: str, replace: bool) -> bool:
    """True where an earlier result is to make way; asked early, it saves the work for a folder that is in use.

    Raises:
        ConfigError: if ``target`` is a file, or holds something that may not be replaced.
    """
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise ConfigError(f"{target} is no folder: name a folder that does not exist yet")
    if not target.exists() or not any(target.iterdir()):
        return False
    if not (target / mark).is_file():
        raise ConfigError(f"{target} holds something else than an earlier export: name a new or an empty folder")
    if not replace:
        raise ConfigError(f"{target} holds an earlier export: name another folder, or ask for it to be replaced")
    return True
