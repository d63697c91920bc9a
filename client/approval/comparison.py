"""A bundle beside the installed release, or beside the bundle that was approved last: file by file, byte by byte."""

import hashlib
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import tomli_w

from client.approval.bundle import PROJECT
from common.bundle import stage_bundle

PRIVACY_FOLDERS = ("client/approval/", "client/audit/", "client/privacy/")
PRIVACY_FILES = (
    PROJECT,
    "client/app.py",
    "client/policy.py",
    "client/sessions.py",
    "client/site.py",
    "common/file_lock.py",
    "common/hash_chain.py",
    "common/privacy.py",
    "common/records.py",
)
"""What decides on what is run, on what leaves, and on the accounts of both."""


@dataclass(frozen=True)
class Differences:
    """Names of files that differ, in alphabetical order."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    missing: tuple[str, ...]

    @cached_property
    def all(self) -> dict[str, str]:
        """How each of them differs, by name."""
        kinds = {"added": self.added, "changed": self.changed, "missing": self.missing}
        return dict(sorted((name, kind) for kind, names in kinds.items() for name in names))

    @property
    def privacy(self) -> list[str]:
        """Those on which patients' privacy hangs directly."""
        return [name for name in self.all if is_privacy_file(name)]


def is_privacy_file(name: str) -> bool:
    """Whether patients' privacy hangs on this file directly."""
    return name in PRIVACY_FILES or name.startswith(PRIVACY_FOLDERS)


def differences(files: Mapping[str, str], reference: Mapping[str, str]) -> Differences:
    """How ``files`` differ from ``reference``; both are SHA-256 by name, see :func:`hashes`."""
    return Differences(
        added=tuple(sorted(set(files) - set(reference))),
        changed=tuple(sorted(name for name in set(files) & set(reference) if files[name] != reference[name])),
        missing=tuple(sorted(set(reference) - set(files))),
    )


def hashes(files: Mapping[str, bytes]) -> dict[str, str]:
    """SHA-256 by name."""
    return {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}


def release_files() -> dict[str, bytes]:
    """The files of the bundle that the installed release makes, by name."""
    with tempfile.TemporaryDirectory(prefix="oncofed-release-") as folder:
        staged = stage_bundle(Path(folder) / "app")
        files = {file.relative_to(staged).as_posix(): file.read_bytes() for file in staged.rglob("*") if file.is_file()}
    # Flower writes the project file anew, without its comments.
    files[PROJECT] = tomli_w.dumps(tomllib.loads(files[PROJECT].decode())).encode()
    return files
