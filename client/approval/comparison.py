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
from common.system.bundle import stage_bundle

COORDINATORS = ("server/",)
"""The rooms of a bundle of which a node loads nothing; a test loads all that a node does and looks."""


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
        """Those on which patients' privacy hangs."""
        return [name for name in self.all if is_privacy_file(name)]


def is_privacy_file(name: str) -> bool:
    """Whether patients' privacy hangs on this file: whatever does not lie in a room of the coordinator's alone.

    What a node loads runs with the images in reach, and its first line can be a change. So the files are not listed,
    and one that is new is among them: where the next import would find it before another of that name, too.

    >>> is_privacy_file("client/site.py"), is_privacy_file("common/new.py"), is_privacy_file("server/report/page.py")
    (True, True, False)
    """
    return not name.startswith(COORDINATORS)


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
