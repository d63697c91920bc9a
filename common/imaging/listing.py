"""A folder's files with their sizes and times, taken in one walk: tells cheaply whether anything has changed."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from common.imaging.patient import StudyLocation

Stamp = tuple[int, int, int]
"""Size in bytes, time of the last change of the content, and of the last change of content, name or rights (ns)."""


def list_files(root: Path) -> dict[Path, Stamp]:
    """Every file below ``root``, hidden ones left out, links followed to files only.

    Raises:
        PermissionError: for a folder that may not be read: its patients would be missing without a word.
    """
    return dict(_walk(root))


def signature(locations: Iterable[StudyLocation], files: Mapping[Path, Stamp]) -> str:
    """A hash of the names, sizes and times of the files of some studies."""
    digest = hashlib.sha256()
    for location in locations:
        for path in sorted(location.files or _below(location.path, files)):
            digest.update(f"{path}\x1f{files.get(path, 'gone')}\x1e".encode(errors="surrogateescape"))
    return digest.hexdigest()[:32]


def as_text(name: str) -> str:
    """A file's name as text that can be written anywhere: bytes of it that are no UTF-8 stand there as codes.

    >>> as_text("m\\udcfcller")
    'm\\\\udcfcller'
    """
    return name.encode(errors="backslashreplace").decode()


def listing_digest(root: Path, files: Mapping[Path, Stamp]) -> str:
    """One hash for a whole folder."""
    return signature([StudyLocation("", root, tuple(files))], files) if files else "empty"


def _walk(folder: Path) -> Iterator[tuple[Path, Stamp]]:
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda some: some.name):
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(Path(entry.path))
                continue
            try:
                stat = entry.stat()
            except OSError:
                continue  # A link that leads nowhere.
            yield Path(entry.path), (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


def _below(path: Path, files: Mapping[Path, Stamp]) -> list[Path]:
    return [file for file in files if file == path or path in file.parents]
