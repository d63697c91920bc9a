"""Which patients were trained under which ledger, so that none has a second cap at another node of the hospital.

A register of the hospital keeps a fingerprint of each patient (HMAC-SHA256 of the name that the reader gives, with a
key that never leaves the folder) and the id of the ledger that pays for it. Without the key the fingerprints say
nothing of who the patients are; with it, whether a known name is among them: the folder is its owner's alone.
"""

import hashlib
import hmac
import json
import os
from collections.abc import Collection, Iterable
from pathlib import Path

from client.privacy.ledger_files import LedgerError
from common.system.file_lock import locked
from common.system.private_files import make_private_folder, write_private

_KEY_BYTES = 32


class ClaimedError(LedgerError):
    """Patients have a ledger already, and it is another one.

    Attributes:
        claimants: ids of these ledgers.
    """

    def __init__(self, text: str, claimants: frozenset[str]) -> None:
        super().__init__(text)
        self.claimants = claimants


def claim(register: Path, ledger_id: str, names: Iterable[str], replaced: Collection[str] = ()) -> None:
    """Writes down that these patients are paid for by this ledger; when this returns, that is on the disk.

    Args:
        register: folder of the register; it is begun where there is none.
        ledger_id: of the ledger that is to be charged.
        names: the patients, as their reader calls them.
        replaced: ids of the ledgers in whose place this one was begun; their patients become its own.

    Raises:
        ClaimedError: if another ledger has one of them; nothing is written then.
        LedgerError: if the register cannot be relied on, read or written.
    """
    try:
        make_private_folder(register)
        with locked(register / "lock"):
            known = _known(register)
            key = _key(register, begun=bool(known))
            asked = {_fingerprint(key, name) for name in names}
            others = {known[one] for one in asked if one in known} - {ledger_id, *replaced}
            if others:
                number = sum(known.get(one) in others for one in asked)
                raise ClaimedError(_claimed(register, number, len(asked)), frozenset(others))
            after = known | dict.fromkeys(asked, ledger_id)
            if after != known:
                write_private(_file(register), (json.dumps(after, sort_keys=True) + "\n").encode(), replace=True)
    except OSError as error:
        raise LedgerError(
            f"{error.filename or register}: the register of patients cannot be read or written "
            f"({error.strerror or error}). Nothing is trained before it is known which ledger pays: make room on the "
            "disk, or let this user write there."
        ) from error


def known_among(register: Path, names: Collection[str]) -> set[str]:
    """Those of ``names`` that some ledger of the hospital has paid for.

    Raises:
        LedgerError: if the register cannot be relied on or read.
    """
    if not _file(register).exists():
        return set()
    with locked(register / "lock"):
        known = _known(register)
        key = _key(register, begun=True)
    return {name for name in names if _fingerprint(key, name) in known}


def _claimed(register: Path, number: int, asked: int) -> str:
    return (
        f"{register}: {number} of the {asked} training patients have another privacy ledger already, and a patient has "
        "one cap, however many nodes train on it. Let the hospital's nodes share one ledger: set the same "
        "`privacy.folder` in the site.yaml of each, with the files of the ledger that these patients have. Or leave "
        "them out here (`patients` in site.yaml). Are they other persons whom their data call the same, set "
        "`privacy.known` to a register of this node's own. If that ledger is lost, `oncofed-client budget SITE.yaml "
        "--reopen REASON` starts one in its place that counts the whole budget as spent (see docs/privacy.md, When the "
        "ledger is refused)."
    )


def _known(register: Path) -> dict[str, str]:
    file = _file(register)
    try:
        known = json.loads(file.read_bytes())
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError) as error:
        raise _damaged(file) from error
    if not isinstance(known, dict) or not all(isinstance(ledger, str) for ledger in known.values()):
        raise _damaged(file)
    return known


def _key(register: Path, *, begun: bool) -> bytes:
    file = register / "key"
    if not begun and not file.exists():
        write_private(file, os.urandom(_KEY_BYTES))
    key = file.read_bytes() if file.exists() else b""
    if len(key) != _KEY_BYTES:
        raise _damaged(file)
    return key


def _damaged(file: Path) -> LedgerError:
    return LedgerError(
        f"{file}: is gone or damaged, so nobody can say which patients have a ledger already. Put the whole folder "
        "back from one and the same backup. Without one it is for the data protection officer to decide whether it may "
        "be moved away: no patient counts as known then, until each ledger is charged for its own again."
    )


def _fingerprint(key: bytes, name: str) -> str:
    return hmac.new(key, name.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def _file(register: Path) -> Path:
    return register / "patients.json"
