"""The coordinator's copy of how far a ledger had come: signed by the site, sent back at the next hello, checked there.

The key lies beside the ledger, and once more in the hospital's register of patients, together with the ids of the
ledgers that this node charged: so a ledger that is removed with its whole folder is missed all the same. A copy whose
signature is of no known key counts for nothing. No coordinator can make one, so none can have a ledger refused that was
not set back.
"""

import hashlib
import hmac
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from client.privacy.ledger import Ledger, LedgerError
from client.privacy.node_id import node_id
from client.privacy.objections import object_to
from client.privacy.witness import Witness, is_behind, standing
from client.site import SiteSettings
from common.results.privacy import LedgerWitness
from common.system.file_lock import locked
from common.system.private_files import make_private_folder, write_private
from common.system.safe_json import model_from_json

_KEY_BYTES = 32


@dataclass(frozen=True)
class Kept:
    """What the register keeps of a node.

    Attributes:
        keys: that its copies were signed with, the newest last.
        ledgers: ids of those that it charged.
    """

    keys: tuple[bytes, ...] = ()
    ledgers: tuple[str, ...] = ()


def coordinators_copy(settings: SiteSettings, ledger: Ledger) -> LedgerWitness:
    """What the coordinator is given to keep.

    Raises:
        LedgerError: if the key cannot be read or written.
    """
    key = enter(settings, ledger)
    now = standing(ledger)
    return LedgerWitness(node=now.node, count=now.count, hash=now.hash, mac=_mac(key, now))


def heed(settings: SiteSettings, text: str) -> None:
    """Looks at the copy that a coordinator sent back; a ledger that is behind it is refused from then on.

    Nothing is raised: what was found against the ledger is told where a budget is asked for. What is malformed, or was
    not signed here, is passed over with a line in the site's own log.
    """
    log = settings.log
    if settings.privacy is None or not text:
        return
    try:
        copy = model_from_json(LedgerWitness, text)
    except ValidationError:
        log.warning("the coordinator's copy of the ledger's state is malformed and counts for nothing")
        return
    try:
        ledger = Ledger(settings.ledger_files(), settings.name, node_id(settings.folder))
        told = _signed_here(settings, ledger, copy)
        if told is None:
            log.warning("the coordinator's copy of the ledger's state was not signed here and counts for nothing")
        elif is_behind(ledger, told):
            object_to(ledger.files.refused, witness=told.values())
            log.error("the privacy ledger is behind what the coordinator brought back", extra={"fields": told.values()})
    except (LedgerError, OSError):
        log.exception("the coordinator's copy of the ledger's state could not be compared")


def enter(settings: SiteSettings, ledger: Ledger) -> bytes:
    """Makes the key of a ledger if it has none, and notes key and ledger in the register; returns the key.

    Raises:
        LedgerError: if that cannot be read or written.
    """
    register = settings.patient_register()
    try:
        make_private_folder(register)
        with locked(register / "lock"):
            kept = kept_of(register, ledger.node)
            key = _key_in(ledger.files.key)
            if key is None:
                key = kept.keys[-1] if kept.keys else os.urandom(_KEY_BYTES)
                # Another node of a shared ledger may have been quicker; then its key is the ledger's.
                with suppress(FileExistsError):
                    write_private(ledger.files.key, key, replace=ledger.files.key.exists())
                key = _key_in(ledger.files.key) or key
            after = Kept((*(one for one in kept.keys if one != key), key), _with(kept.ledgers, ledger.id))
            if after != kept:
                values = {"keys": [one.hex() for one in after.keys], "ledgers": list(after.ledgers)}
                write_private(_kept_file(register, ledger.node), (json.dumps(values) + "\n").encode(), replace=True)
    except OSError as error:
        raise LedgerError(
            f"{error.filename or register}: the key of the privacy ledger cannot be read or written "
            f"({error.strerror or error}): make room on the disk, or let this user write there"
        ) from error
    return key


def kept_of(register: Path, node: str) -> Kept:
    """What ``register`` keeps of a node; nothing where that is damaged, since the ledger's folder has the key too."""
    try:
        values = json.loads(_kept_file(register, node).read_bytes())
        return Kept(
            tuple(bytes.fromhex(str(key)) for key in values["keys"]), tuple(str(one) for one in values["ledgers"])
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return Kept()


def _signed_here(settings: SiteSettings, ledger: Ledger, copy: LedgerWitness) -> Witness | None:
    """The witness that ``copy`` is: the ledger's id does not travel, so each that it may be of is tried."""
    kept = kept_of(settings.patient_register(), ledger.node)
    keys: Iterable[bytes] = filter(None, (_key_in(ledger.files.key), *kept.keys))
    for key in dict.fromkeys(keys):
        for ledger_id in dict.fromkeys((ledger.id, *kept.ledgers, *sorted(ledger.replaces()))):
            told = Witness(ledger_id, copy.node, copy.count, copy.hash)
            if hmac.compare_digest(_mac(key, told), copy.mac):
                return replace(told, source="what a coordinator brought back")
    return None


def _mac(key: bytes, witness: Witness) -> str:
    text = f"{witness.ledger}|{witness.node}|{witness.count}|{witness.hash}"
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def _key_in(file: Path) -> bytes | None:
    """The key in ``file``; None where there is none, or half of one."""
    try:
        key = file.read_bytes()
    except FileNotFoundError:
        return None
    return key if len(key) == _KEY_BYTES else None


def _kept_file(register: Path, node: str) -> Path:
    return register / f"node-{node}.json"


def _with(ids: tuple[str, ...], one: str) -> tuple[str, ...]:
    return ids if one in ids else (*ids, one)
