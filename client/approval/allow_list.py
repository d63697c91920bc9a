"""The hospital's list of app bundles that it has approved; nothing from outside can add to it."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from client.site import SiteSettings
from common.errors import ConfigError
from common.system.private_files import write_private
from common.system.safe_json import model_from_json

PREFIX = 8
"""Digits of its hash by which Flower names the folder that a bundle is unpacked to."""


class Approval(BaseModel):
    """One approved bundle.

    Attributes:
        sha256: of the whole bundle.
        time: when it was approved (ISO 8601, UTC).
        privacy_change_reviewed: whether it changes files on which privacy hangs, and the hospital has read them.
        files: SHA-256 by name, to show what the next one changes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    time: str
    privacy_change_reviewed: bool
    files: dict[str, str]


class _Approvals(BaseModel):
    model_config = ConfigDict(extra="forbid")

    approved: list[Approval] = []


def allow_list_file(settings: SiteSettings) -> Path:
    """Where the list lies."""
    return settings.folder / "approved_bundles.json"


def approvals(settings: SiteSettings) -> list[Approval]:
    """Everything that is approved, the oldest first.

    Raises:
        ConfigError: if the list cannot be read; then nothing counts as approved.
    """
    file = allow_list_file(settings)
    try:
        return model_from_json(_Approvals, file.read_bytes()).approved
    except FileNotFoundError:
        return []
    except (OSError, ValidationError) as error:
        raise ConfigError(
            f"{file}: the list of approved app bundles cannot be read, so none is approved; put back a copy, or remove "
            "it and approve again what is to run"
        ) from error


def approve_bundle(settings: SiteSettings, sha256: str, files: Mapping[str, str], *, reviewed: bool) -> None:
    """Adds a bundle to the list.

    Args:
        files: SHA-256 by name.
        reviewed: whether the hospital has read changed privacy files.

    Raises:
        ConfigError: if the list cannot be read or written, or Flower would unpack two bundles into one folder.
    """
    kept = [one for one in approvals(settings) if one.sha256 != sha256]
    if same := [one.sha256 for one in kept if one.sha256[:PREFIX] == sha256[:PREFIX]]:
        raise ConfigError(
            f"{allow_list_file(settings)}: {same[0]} is approved and begins with the same {PREFIX} digits; Flower "
            "could not tell them apart. Revoke that one first, or ask for a bundle that was built anew"
        )
    time = datetime.now(UTC).isoformat(timespec="seconds")
    made = Approval(sha256=sha256, time=time, privacy_change_reviewed=reviewed, files=dict(sorted(files.items())))
    _write(settings, [*kept, made])


def revoke_bundle(settings: SiteSettings, sha256: str) -> None:
    """Takes a bundle off the list. A study that runs already goes on until its node is stopped.

    Raises:
        ConfigError: if it is not on the list, or that cannot be read or written.
    """
    all_ = approvals(settings)
    kept = [one for one in all_ if one.sha256 != sha256]
    if len(kept) == len(all_):
        raise ConfigError(f"{allow_list_file(settings)}: holds no bundle {sha256[:80]!r}")
    _write(settings, kept)


def _write(settings: SiteSettings, all_: list[Approval]) -> None:
    file = allow_list_file(settings)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        content = json.dumps(_Approvals(approved=all_).model_dump(), indent=1) + "\n"
        write_private(file, content.encode(), replace=True)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written ({error.strerror}); the list is as it was") from error
