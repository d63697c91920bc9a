"""``oncofed-client approve``: shows what an app bundle changes, and puts it on the hospital's list."""

import difflib
import hashlib
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from client.approval.allow_list import approvals, approve_bundle, revoke_bundle
from client.approval.bundle import read_bundle
from client.approval.comparison import Differences, differences, hashes, is_privacy_file, release_files
from client.audit.log import AuditLog
from client.site import SiteSettings, load_site
from common.errors import ConfigError, RefusalError
from common.system.outside import in_codes, say

_LINE_END = re.compile(r"\r\n|\r|\n")


def approve(
    site: Path, bundle: Path, *, yes: bool = False, privacy_change_reviewed: bool = False, diff: bool = False
) -> None:
    """Shows how a bundle differs and, if the hospital agrees, approves it.

    Args:
        site: the hospital's ``site.yaml``.
        bundle: the ``.fab`` file.
        yes: agree without being asked.
        privacy_change_reviewed: the hospital has read the changes of files on which privacy hangs.
        diff: print the changed lines as well.

    Raises:
        ConfigError: if a file cannot be read or written, or nobody is there to be asked.
        RefusalError: for a bundle that is none, that changes privacy files unread, or that is declined.
        AuditError: if the approval cannot be written down.
    """
    settings = load_site(site)
    try:
        data = bundle.read_bytes()
    except OSError as error:
        raise ConfigError(f"{bundle}: cannot be read ({error.strerror}); name the .fab file of the study") from error
    sha256 = hashlib.sha256(data).hexdigest()
    try:
        files = read_bundle(data)
    except RefusalError as error:
        AuditLog(settings.audit_files()).write("bundle refused", sha256=sha256, reason=str(error))
        raise RefusalError(f"{bundle}: {error}") from error
    release = release_files()
    made = hashes(files)
    found = differences(made, hashes(release))
    say(f"bundle {sha256}")
    if not found.all:
        say("It equals the installed release, file by file: it runs here without an approval.")
        return
    known = approvals(settings)
    if any(one.sha256 == sha256 for one in known):
        say("It is approved already.")
        return
    _show("the installed release", found)
    if diff:
        _show_lines(files, release, found)
    if known:
        _show(
            f"the bundle approved last ({known[-1].sha256[:12]}, {known[-1].time})", differences(made, known[-1].files)
        )
    if found.privacy and not privacy_change_reviewed:
        reason = "it changes files on which patients' privacy hangs"
        AuditLog(settings.audit_files()).write("bundle refused", sha256=sha256, reason=reason)
        raise RefusalError(
            f"{bundle}: {reason} ({', '.join(found.privacy[:5])}{', …' if len(found.privacy) > 5 else ''}). Read the "
            "changes (--diff) with someone who understands them, then say so with --privacy-change-reviewed"
        )
    _agree(bundle, yes)
    # Written down first: what cannot be written down does not come about.
    AuditLog(settings.audit_files()).write("bundle approved", sha256=sha256, privacy_files=len(found.privacy))
    approve_bundle(settings, sha256, made, reviewed=bool(found.privacy))
    say("Approved: it may run at this site.")


def revoke(site: Path, sha256: str) -> None:
    """Takes a bundle off the list.

    Raises:
        ConfigError: if it is not on it.
    """
    settings: SiteSettings = load_site(site)
    revoke_bundle(settings, sha256)
    AuditLog(settings.audit_files()).write("bundle revoked", sha256=sha256)
    say("Revoked. A study that runs already goes on until its node is stopped.")


def _agree(bundle: Path, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigError(f"{bundle}: not approved: nobody is there to be asked; add --yes once you have looked at it")
    answer = input("Its code will run here with the rights of the node, patients in reach. Approve it? [y/N] ")
    if answer.strip().lower() not in ("y", "yes"):
        raise RefusalError(f"{bundle}: not approved")


def _show(what: str, found: Differences) -> None:
    say("", f"Beside {what}:")
    if not found.all:
        say("  no difference")
    if found.privacy:
        say("  !!! FILES ON WHICH PATIENTS' PRIVACY HANGS:")
        for name in found.privacy:
            say(f"  !!! {found.all[name]:8} {name}")
    for name, kind in found.all.items():
        if not is_privacy_file(name):
            say(f"      {kind:8} {name}")


def _show_lines(files: Mapping[str, bytes], release: Mapping[str, bytes], found: Differences) -> None:
    for name in [*found.privacy, *(name for name in found.all if not is_privacy_file(name))]:
        # Ended where Python ends them: it reads on past other signs that look like the end of a line.
        old, new = (_LINE_END.split(side.get(name, b"").decode(errors="replace")) for side in (release, files))
        say()
        for line in difflib.unified_diff(old, new, f"installed/{name}", f"bundle/{name}", lineterm=""):
            say(*in_codes(line))
