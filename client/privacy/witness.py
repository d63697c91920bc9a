"""What vouches for a ledger from outside it: the record of messages, the results of earlier studies, objections.

A ledger and its head that are put back together from an older backup, or removed together, fit each other. But whoever
was told how far the ledger had come can tell: a witness is how many charges a node had made, and the hash of the newest
of them. A ledger that does not hold that line any more is behind the witness, and is refused.

Only a node's own charges are counted. A node has one coordinator, so a witness that a coordinator keeps
(:mod:`client.privacy.coordinators_copy`) says nothing of studies that other nodes of the hospital took part in.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from client.privacy.ledger import WAY_OUT, Ledger, LedgerError
from client.privacy.objections import objections
from client.site import SiteSettings


@dataclass(frozen=True)
class Witness:
    """How far a ledger had come.

    Attributes:
        ledger: the id in its first line.
        node: whose charges are counted.
        count: how many they were.
        hash: of the newest of these lines; empty without any.
        source: what says so, for the error.
    """

    ledger: str
    node: str
    count: int
    hash: str
    source: str = field(default="", compare=False)

    def values(self) -> dict[str, str | int]:
        """What is written down; it stays at the site."""
        return {key: value for key, value in asdict(self).items() if key != "source"}

    @staticmethod
    def read(values: object, source: str) -> "Witness | None":
        """What :meth:`values` wrote; None for anything else."""
        if not isinstance(values, Mapping):
            return None
        texts = [values.get(key) for key in ("ledger", "node", "hash")]
        count = values.get("count")
        if not all(isinstance(text, str) for text in texts) or type(count) is not int or count < 0:
            return None
        return Witness(str(texts[0]), str(texts[1]), count, str(texts[2]), source)


def standing(ledger: Ledger) -> Witness:
    """How far the charges of this ledger's own node have come."""
    hashes = ledger.hashes_of(ledger.node)
    return Witness(ledger.id, ledger.node, len(hashes), hashes[-1] if hashes else "")


def is_behind(ledger: Ledger, witness: Witness) -> bool:
    """Whether ``ledger`` has forgotten something that ``witness`` saw.

    Of a ledger in whose place this one was begun (``--reopen``) all counts as spent: its witnesses say nothing new.
    """
    if witness.count == 0:
        return False
    if witness.ledger != ledger.id:
        return not ledger.may_replace(witness.ledger)
    hashes = ledger.hashes_of(witness.node)
    return len(hashes) < witness.count or hashes[witness.count - 1] != witness.hash


def require_witnessed(settings: SiteSettings, ledger: Ledger) -> None:
    """Refuses a ledger that is behind a witness on this machine.

    Record and results are read once in a process, and compared each time; objections are read each time.

    Raises:
        LedgerError: naming the ledger, the witness, its file and the way out.
    """
    for witness in witnesses(settings):
        if is_behind(ledger, witness):
            file = ledger.files.ledger
            raise LedgerError(
                f"{file}: is behind {witness.source}, which knows of {witness.count} charges of the node "
                f"{witness.node[:8]}: an older ledger was put back, or another one begun. If that node charges another "
                f"ledger of this hospital, name its folder as `privacy.folder`. {WAY_OUT}"
            )


def witnesses(settings: SiteSettings) -> list[Witness]:
    """Every witness on this machine; of those that agree in node and ledger, the one that saw most."""
    file = settings.ledger_files().refused
    noted = [Witness.read(one, f"what a coordinator brought back ({file})") for one in objections(file).witnesses]
    return _strongest([*_of_record_and_results(settings.audit_files().log, settings.folder), *filter(None, noted)])


@cache
def _of_record_and_results(log: Path, folder: Path) -> tuple[Witness, ...]:
    return tuple(_strongest([*_of_record(log), *_of_results(folder)]))


def _of_record(log: Path) -> Iterator[Witness]:
    # Line by line and without the chain: a record of years is long, and one that was changed elsewhere still tells.
    source = f"the record of messages ({log})"
    if not log.exists():
        return
    try:
        with log.open("rb") as lines:
            for line in lines:
                if b'"ledger"' in line and (found := Witness.read(_in(line, "entry", "ledger"), source)):
                    yield found
    except OSError as error:
        raise LedgerError(
            f"{log}: cannot be read ({error.strerror}), so nobody can say whether the privacy ledger is behind it; let "
            "this user read it"
        ) from error


def _of_results(folder: Path) -> Iterator[Witness]:
    for results in (folder / "results", *sorted(folder.glob("runs/*/results"))):
        for file in (results / "privacy.json", *sorted(results.glob("trials/**/privacy.json"))):
            try:
                content = file.read_bytes()
            except OSError:
                continue
            if found := Witness.read(_in(content, "ledger"), f"the results of a study ({file})"):
                yield found


def _in(content: bytes, *keys: str) -> Any:
    try:
        value = json.loads(content)
        for key in keys:
            value = value[key]
    except (ValueError, KeyError, TypeError, RecursionError):
        # A damaged line or file is no witness; others may tell.
        return None
    return value


def _strongest(found: list[Witness]) -> list[Witness]:
    best: dict[tuple[str, str], Witness] = {}
    for witness in found:
        key = witness.ledger, witness.node
        if key not in best or best[key].count <= witness.count:
            best[key] = witness
    return list(best.values())
