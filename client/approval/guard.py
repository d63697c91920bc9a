"""The question that is asked before any app bundle runs at this hospital."""

import hashlib
from pathlib import Path

from client.approval.allow_list import approvals
from client.approval.bundle import read_bundle
from client.approval.comparison import release_files
from client.site import SiteSettings
from common.errors import ConfigError, RefusalError


def require_approved(bundle: Path | bytes, settings: SiteSettings) -> dict[str, bytes]:
    """Lets a bundle pass whose files equal the installed release's byte for byte, or that the hospital has approved.

    Args:
        bundle: the archive, or its file.
        settings: the hospital's own.

    Returns:
        Its files by name.

    Raises:
        RefusalError: for every other one, and if the list of approved bundles cannot be read; the text may leave.
    """
    try:
        data = bundle if isinstance(bundle, bytes) else bundle.read_bytes()
    except OSError as error:
        raise RefusalError("the app bundle cannot be read") from error
    files = read_bundle(data)
    if files == release_files():
        return files
    sha256 = hashlib.sha256(data).hexdigest()
    try:
        approved = {one.sha256 for one in approvals(settings)}
    except ConfigError as error:
        raise RefusalError("its list of approved app bundles cannot be read") from error
    if sha256 not in approved:
        raise RefusalError(f"its hospital has not approved this app bundle ({sha256[:12]})")
    return files
