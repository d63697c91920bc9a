"""``refused.json`` beside a ledger: what was found against it, kept until the ledger is mended or begun anew.

A witness that a coordinator brought back is compared with the ledger at every later training: the ledger is refused as
long as it is behind it, and no longer than that. Ledgers that claim patients of this one (:mod:`client.privacy.
known_patients`) are kept so that ``--reopen`` may replace them.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from client.privacy.ledger_files import WAY_OUT, LedgerError
from common.system.file_lock import locked
from common.system.private_files import write_private


@dataclass(frozen=True)
class Objections:
    """What stands in the file.

    Attributes:
        witnesses: one a node, as :class:`client.privacy.witness.Witness` writes it.
        claimants: ids of ledgers under which patients of this ledger were trained.
    """

    witnesses: tuple[Mapping[str, Any], ...] = ()
    claimants: frozenset[str] = frozenset()


def objections(file: Path) -> Objections:
    """What stands in ``file``; nothing where it is not there.

    Raises:
        LedgerError: if it is damaged: something was found against this ledger, and nobody can say what.
    """
    try:
        values = json.loads(file.read_bytes())
        noted, claimants = values["witnesses"], values["claimants"]
        return Objections(
            tuple(one for one in noted if isinstance(one, dict)), frozenset(str(one) for one in claimants)
        )
    except FileNotFoundError:
        return Objections()
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise LedgerError(
            f"{file}: cannot be read, so nobody can say what was found against this ledger. {WAY_OUT}"
        ) from error


def object_to(file: Path, *, witness: Mapping[str, Any] | None = None, claimants: Iterable[str] = ()) -> None:
    """Adds to ``file``; an older witness of the same node makes way.

    Raises:
        LedgerError: if it is damaged.
        OSError: if it cannot be written.
    """
    with locked(file.with_suffix(".lock")):
        known = objections(file)
        noted = list(known.witnesses)
        if witness is not None:
            noted = [one for one in noted if one.get("node") != witness.get("node")] + [witness]
        after = {"witnesses": noted, "claimants": sorted(known.claimants | set(claimants))}
        write_private(file, (json.dumps(after, indent=1) + "\n").encode(), replace=True)
