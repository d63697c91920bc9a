"""App bundles of every hostile kind are refused unread; the release's own is read whole."""

import io
import os
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flwr.cli.build import build_fab_from_disk

from client.approval.bundle import CONTENT, content_list, read_bundle
from client.approval.comparison import release_files
from common.errors import RefusalError
from common.system.bundle import stage_bundle

PROJECT = b'[project]\nname = "oncofed"\nversion = "1"\n[tool.flwr.app]\npublisher = "oncofed"\n'
FILES = {"pyproject.toml": PROJECT, "client/app.py": b"raise SystemExit('run')\n"}


def packed(
    files: dict[str, bytes], *more: tuple[zipfile.ZipInfo | str, bytes], listed: bytes | None = None, **options: Any
) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", options.get("how", zipfile.ZIP_DEFLATED)) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        for info, content in more:
            archive.writestr(info, content)
        archive.writestr(CONTENT, content_list(files) if listed is None else listed)
    return buffer.getvalue()


def mode(name: str, kind: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (kind | 0o777) << 16
    return info


def test_the_release_is_read_as_flower_packs_it(tmp_path: Path) -> None:
    data = build_fab_from_disk(stage_bundle(tmp_path / "app"))
    assert read_bundle(data) == release_files()


def test_a_small_bundle_is_read() -> None:
    assert read_bundle(packed(FILES)) == FILES


NAMES = [
    "../client/app.py",
    "client/../../x.py",
    "/client/x.py",
    "client//x.py",
    "client/./x.py",
    "client\\..\\x.py",
    "C:/client/x.py",
    "torch.py",
    "numpy/__init__.py",
    "client",
    "client/",
    "client/x.so",
    "client/x.pth",
    "client/__pycache__/x.py",
    "client/.hidden/x.py",
    "client/.x.py",
    "client/a.b/x.py",
    "Client/x.py",
    "client/\u0430pp.py",
    "client/x\x1b[2J.py",
    ".info/other",
    "common/app_bundle.toml",
    "client/" + "x" * 300 + ".py",
]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_names_outside_the_five_packages_are_refused(name: str) -> None:
    with pytest.raises(RefusalError, match="no file of the five packages") as error:
        read_bundle(packed(FILES | {name: b""}))
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 1000


def test_a_name_with_a_zero_byte_is_refused() -> None:
    data = packed(FILES | {"client/x.py_.sh": b""}).replace(b"client/x.py_.sh", b"client/x.py\0.sh")
    with pytest.raises(RefusalError, match="no file of the five packages"):
        read_bundle(data)


def corrupted() -> bytes:
    data = bytearray(packed(FILES, how=zipfile.ZIP_STORED))
    where = data.index(b"raise SystemExit")
    data[where] ^= 1
    return bytes(data)


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "no archive": (lambda: b"PK\x03\x04 nothing", "no zip archive"),
    "nothing at all": (lambda: b"", "no zip archive"),
    "larger than 10 MB": (
        lambda: packed(FILES | {"client/x.py": os.urandom(11 * 2**20)}, how=zipfile.ZIP_STORED),
        "10 MB",
    ),
    "a bomb": (lambda: packed(FILES | {"client/x.py": bytes(60 * 2**20)}), "50 MB"),
    "many files": (lambda: packed(FILES | {f"client/x{i}.py": b"" for i in range(5_000)}), "too many"),
    "a file twice": (lambda: packed(FILES, ("client/app.py", b"other")), "twice"),
    "a file twice but for case": (lambda: packed(FILES, ("client/App.py", b"other")), "twice"),
    "a symbolic link": (lambda: packed(FILES, (mode("client/x.py", stat.S_IFLNK), b"/etc/passwd")), "a link"),
    "a device": (lambda: packed(FILES, (mode("client/x.py", stat.S_IFCHR), b"")), "a link or another thing"),
    "another packing": (lambda: packed(FILES, how=zipfile.ZIP_LZMA), "unknown way"),
    "no list of hashes": (lambda: packed(FILES).replace(CONTENT.encode(), b".info/CONTENX"), "no file of"),
    "a list that does not fit": (lambda: packed(FILES, listed=content_list({"pyproject.toml": b""})), "does not fit"),
    "a file that is not listed": (lambda: packed(FILES, ("client/extra.py", b"")), "does not fit"),
    "no project file": (
        lambda: packed({"client/app.py": b""}, listed=content_list(FILES)),
        "lacks its pyproject.toml",
    ),
    "changed after packing": (corrupted, "damaged"),
    "cut off": (lambda: packed(FILES)[:-40], "no zip archive"),
}


@pytest.mark.parametrize("how", HOSTILE)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_hostile_archives_are_refused(how: str) -> None:
    make, said = HOSTILE[how]
    with pytest.raises(RefusalError, match=said):
        read_bundle(make())


def test_an_encrypted_file_is_refused() -> None:
    data = bytearray(packed(FILES))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        where = data.index(mark)
        data[where + offset] |= 1
    with pytest.raises(RefusalError, match="encrypted"):
        read_bundle(bytes(data))


def test_a_header_that_lies_about_its_size_does_not_unpack_more() -> None:
    """The size in the directory is what reading is held to; the check sum then does not fit."""
    data = packed(FILES | {"client/x.py": bytes(30 * 2**20)})
    size = (30 * 2**20).to_bytes(4, "little")
    with pytest.raises(RefusalError, match="damaged"):
        read_bundle(data.replace(size, (100).to_bytes(4, "little")))
