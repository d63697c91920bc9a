"""Hostile start-up kits and app bundles: archives that reach out of their folder, lie about sizes, or bring code."""

import io
import json
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

from hostile_corpus import Payload, hostile

Entry = tuple[zipfile.ZipInfo | str, bytes]


def archive(entries: list[Entry], sizes: dict[str, int] | None = None) -> bytes:
    """A zip archive; ``sizes`` is what its directory says of a file's size instead of the truth."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in entries:
            made.writestr(name, content)
        for info in made.filelist:
            info.file_size = (sizes or {}).get(info.filename, info.file_size)
    return buffer.getvalue()


def link(name: str, target: str) -> Entry:
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info, target.encode()


def damaged(data: bytes) -> bytes:
    """The packed bytes of the first file turned over, with everything around them intact."""
    begin = data.index(b"PK\x03\x04") + 60
    return data[:begin] + bytes(byte ^ 0xFF for byte in data[begin : begin + 200]) + data[begin + 200 :]


def kit_files(payload: Payload) -> dict[str, bytes]:
    return {
        "kit.json": json.dumps({"version": 1}).encode(),
        "token": b"t" * 43 + b"\n",
        "ca.crt": payload.pickled(),
        "README.txt": b"read me " * 400,
    }


def kit(
    payload: Payload, *more: Entry, without: str = "", sizes: dict[str, int] | None = None, **files: bytes
) -> bytes:
    """A kit whose checksums fit; ``files`` by name with ``_`` for the dot."""
    from common.protocol.enrolment import checksums

    made = {**kit_files(payload), **{name.replace("_", "."): content for name, content in files.items()}}
    made["SHA256SUMS"] = checksums(made)
    return archive([(name, content) for name, content in made.items() if name != without] + list(more), sizes)


def first(payload: Payload) -> bytes:
    """A kit whose long text comes first, so that it is the one that :func:`damaged` hits."""
    files = kit_files(payload)
    rest = [(name, content) for name, content in files.items() if name != "README.txt"]
    return archive([("README.txt", bytes(range(256)) * 90), *rest, ("SHA256SUMS", b"")])


KITS: dict[str, Callable[[Payload], bytes]] = {
    "reaches out": lambda payload: kit(payload, ("../../escaped", b"x")),
    "reaches to the root": lambda payload: kit(payload, ("/tmp/escaped", b"x")),
    "is a link": lambda payload: kit(payload, link("token", "/etc/passwd"), without="token"),
    "has a link": lambda payload: kit(payload, link("keys", "/root")),
    "has code": lambda payload: kit(payload, ("sitecustomize.py", b"import os")),
    "has settings": lambda payload: kit(payload, ("site.yaml", f"name: {payload.yaml()}\n".encode())),
    "has a file twice": lambda payload: kit(payload, ("token", b"t")),
    "is a bomb": lambda payload: kit(payload, README_txt=bytes(2**26)),
    "is a bomb that says it is none": lambda payload: kit(payload, README_txt=bytes(2**26), sizes={"README.txt": 1000}),
    "is damaged": lambda payload: damaged(first(payload)),
    "is nested": lambda payload: kit(payload, kit_json=b"[" * 90_000),
    "has a description of wrong types": lambda payload: kit(payload, kit_json=b'{"version": [], "federation": {}}'),
    "has a pickle for a certificate": lambda payload: kit(payload),
    "is a pickle": lambda payload: payload.pickled(),
    "is empty": lambda payload: b"",
}

for _name, _make in KITS.items():

    @hostile(f"kit {_name}", says="kit.zip")
    def _(folder: Path, payload: Payload, make: Callable[[Payload], bytes] = _make) -> Callable[[], object]:
        from client.enrolment.kit import open_kit

        file = folder / "kit.zip"
        file.write_bytes(make(payload))

        def read() -> None:
            try:
                open_kit(file)
            finally:
                assert [one.name for one in folder.iterdir()] == ["kit.zip"]

        return read


PROJECT = b'[project]\nname = "oncofed"\nversion = "1"\n[tool.flwr.app]\npublisher = "oncofed"\n'


def bundle(payload: Payload, *more: Entry, sizes: dict[str, int] | None = None, **files: bytes) -> bytes:
    """A bundle whose list of hashes fits; ``files`` by name with ``__`` for the slash and ``_`` for the dot."""
    from client.approval.bundle import CONTENT, content_list

    code = f"import os\nos.system({payload.command!r})\n".encode()
    plain = {
        "pyproject.toml": PROJECT,
        "client/app.py": code,
        **{name.replace("__", "/").replace("_", "."): content for name, content in files.items()},
    }
    listed = {**plain, **{name: content for name, content in more if isinstance(name, str)}}
    return archive([*plain.items(), *more, (CONTENT, content_list(listed))], sizes)


BUNDLES: dict[str, Callable[[Payload], bytes]] = {
    "is another release": bundle,
    "reaches out": lambda payload: bundle(payload, ("../client/app.py", b"x")),
    "reaches out behind a package": lambda payload: bundle(payload, ("client/../../x.py", b"x")),
    "reaches to the root": lambda payload: bundle(payload, ("/tmp/x.py", b"x")),
    "has a link": lambda payload: bundle(payload, link("client/x.py", "/etc/passwd")),
    "has a link for a folder": lambda payload: bundle(payload, link("client/x", "/etc")),
    "has a library": lambda payload: bundle(payload, torch_py=b"import os"),
    "has sitecustomize": lambda payload: bundle(payload, sitecustomize_py=b"import os"),
    "has a path file": lambda payload: bundle(payload, client__x_pth=b"import os"),
    "has machine code": lambda payload: bundle(payload, client__x_so=b"\x7fELF"),
    "has compiled code": lambda payload: bundle(payload, ("client/__pycache__/app.cpython-311.pyc", b"x")),
    "has a pickle": lambda payload: bundle(payload, client__x_pkl=payload.pickled()),
    "is a bomb": lambda payload: bundle(payload, client__x_py=bytes(2**26)),
    "is a bomb that says it is none": lambda payload: bundle(
        payload, client__x_py=bytes(2**26), sizes={"client/x.py": 1000}
    ),
    "is damaged": lambda payload: damaged(
        archive([("client/x.py", bytes(range(256)) * 90), ("pyproject.toml", PROJECT), (".info/CONTENT", b"")])
    ),
    "is a pickle": lambda payload: payload.pickled(),
    "is empty": lambda payload: b"",
}

for _name, _make in BUNDLES.items():
    # The reason may leave the site, so it names no file of this machine.
    @hostile(f"bundle {_name}", says="app bundle")
    def _(folder: Path, payload: Payload, make: Callable[[Payload], bytes] = _make) -> Callable[[], object]:
        from client.approval.guard import require_approved
        from client.site import SiteSettings

        file = folder / "study.fab"
        file.write_bytes(make(payload))
        settings = SiteSettings(
            name="a", reader="brats", organ="brain", path=folder, folder=folder, cache_dir=folder / "cache"
        )

        def read() -> None:
            try:
                require_approved(file, settings)
            finally:
                assert [one.name for one in folder.iterdir()] == ["study.fab"]

        return read
