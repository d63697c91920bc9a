"""A Flower app bundle as plain files. It is looked at and never run: nothing of it is imported or written to the disk.

A bundle is a zip archive of at most 10 MB with the sources and configurations of our five packages, one
``pyproject.toml`` and Flower's list of hashes. Whatever else an archive can hold is refused before it is unpacked: a
bundle's code comes first on Python's path, so that a ``torch.py`` beside the packages would be taken for the library.
"""

import hashlib
import io
import re
import stat
import zipfile
import zlib

from common.errors import RefusalError
from common.system.bundle import PACKAGES, SUFFIXES

PROJECT = "pyproject.toml"
CONTENT = ".info/CONTENT"
MOST_BYTES = 10 * 1024 * 1024
MOST_UNPACKED = 50 * 1024 * 1024
MOST_FILES = 5_000

_FOLDER = re.compile(r"[A-Za-z0-9_-]{1,100}")
_FILE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}")


def read_bundle(data: bytes) -> dict[str, bytes]:
    """The files of a bundle by name, without Flower's list of hashes, which is checked.

    Raises:
        RefusalError: for anything that ``flwr build`` does not make of a release. The text may leave; it names at most
            a file of the bundle.
    """
    if len(data) > MOST_BYTES:
        raise RefusalError("the app bundle is larger than 10 MB")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            _check(infos)
            files = {info.filename: archive.read(info) for info in infos}
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError) as error:
        raise RefusalError("the app bundle is damaged, or no zip archive") from error
    listed = files.pop(CONTENT, None)
    if PROJECT not in files or listed is None:
        raise RefusalError("the app bundle lacks its pyproject.toml or its list of hashes")
    if listed != content_list(files):
        raise RefusalError("the app bundle's list of hashes does not fit its files")
    return files


def content_list(files: dict[str, bytes]) -> bytes:
    """Flower's list of a bundle's files: name, SHA-256 and bits, ``pyproject.toml`` first."""
    names = [PROJECT, *sorted(set(files) - {PROJECT})]
    return "\n".join(
        f"{name},{hashlib.sha256(files[name]).hexdigest()},{8 * len(files[name])}" for name in names
    ).encode()


def _check(infos: list[zipfile.ZipInfo]) -> None:
    """Looks at the archive's directory alone; sizes are those that unpacking is held to."""
    if len(infos) > MOST_FILES:
        raise RefusalError("the app bundle holds too many files")
    if sum(info.file_size for info in infos) > MOST_UNPACKED:
        raise RefusalError("the app bundle would unpack to more than 50 MB")
    seen: set[str] = set()
    for info in infos:
        shown = ascii(info.orig_filename[:100])
        # A name is cut at a zero byte on reading, so that two readers could see two names.
        if info.filename != info.orig_filename or not _is_ours(info.filename):
            raise RefusalError(f"the app bundle holds {shown}, which is no file of the five packages")
        if info.filename.casefold() in seen:
            raise RefusalError(f"the app bundle holds {shown} twice")
        seen.add(info.filename.casefold())
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
            raise RefusalError(f"the app bundle holds {shown}, which is a link or another thing than a file")
        if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise RefusalError(f"the app bundle holds {shown}, which is encrypted or packed in an unknown way")


def _is_ours(name: str) -> bool:
    if name in (PROJECT, CONTENT):
        return True
    *folders, file = name.split("/")
    return (
        bool(folders)
        and folders[0] in PACKAGES
        and all(_FOLDER.fullmatch(folder) and folder != "__pycache__" for folder in folders)
        and _FILE.fullmatch(file) is not None
        and file.endswith(SUFFIXES)
    )
