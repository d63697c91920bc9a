"""Each patient's role at a site with a privacy budget: who trains, who tests, decided once and for good.

A role follows from a keyed hash of the patient alone: removing or adding somebody else moves nobody, which a split by
rank does (and then one patient's absence changes what several add to a step). The key stays on the hospital's disk, so
that no coordinator can tell who tests. Nobody who has ever trained is scored, and nobody who tests ever trains: figures
on test patients are told without noise.
"""

import hashlib
import hmac
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

from client.privacy.trained import everybody_trained, trained_before
from client.site import Shares, SiteSettings
from common.errors import PrivacyError, RefusalError
from common.imaging.split import Split
from common.study.experiment import StudyConfig
from common.study.trials import Trial
from common.system.file_lock import locked
from common.system.private_files import make_private_folder, write_private

KEY_BYTES = 32


class Role(StrEnum):
    """What a patient is for, in every study."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"
    UNUSED = "unused"


Trained = Callable[[Sequence[str], bool], Iterable[str]]


@dataclass(frozen=True)
class Roster:
    """The roles of one site's patients, or of all patients of a hospital whose nodes share a folder.

    Attributes:
        key: 32 bytes.
        roles: by name.
    """

    key: bytes
    roles: Mapping[str, Role]

    def split(self, names: Iterable[str]) -> Split:
        """The parts of these patients; each in the order of the names."""
        ordered = sorted(names)

        def part(role: Role) -> tuple[str, ...]:
            return tuple(name for name in ordered if self.roles[name] is role)

        return Split(part(Role.TRAIN), part(Role.VALIDATION), part(Role.TEST), part(Role.UNUSED))

    def within(self, names: Sequence[str], share: float) -> tuple[str, ...]:
        """About that share of ``names``, each by itself: how a study's limit on training patients is kept."""
        return tuple(name for name in names if place_of(self.key, "limit", name) < share)

    def order(self, names: Iterable[str]) -> list[str]:
        """In an order that nobody outside can foresee, and in which each stands by itself."""
        return sorted(names, key=lambda name: (place_of(self.key, "order", name), name))


def place_of(key: bytes, what: str, name: str) -> float:
    """Where a patient lies between 0 and 1, by a keyed hash (HMAC-SHA256) of its name."""
    text = f"{what}\x1f{name}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hmac.new(key, text, hashlib.sha256).digest()[:7], "big") / 2**56


def role_of(key: bytes, name: str, shares: Shares) -> Role:
    """The role of a patient of whom nothing else is known."""
    place = place_of(key, "role", name)
    bounds = ((Role.TEST, shares.test), (Role.VALIDATION, shares.validation), (Role.TRAIN, shares.train))
    for role, share in bounds:
        if place < share:
            return role
        place -= share
    return Role.UNUSED


def open_roster(
    folder: Path,
    shares: Shares,
    names: Iterable[str],
    trained: Trained,
    *,
    for_good: bool = True,
) -> Roster:
    """The roster of ``folder``, with a role for each of ``names``; new ones are on the disk when this returns.

    Args:
        folder: where it is kept.
        shares: of the roles, for patients that have none yet.
        names: the patients that are here now.
        trained: which of some patients have trained before, those who are new or not; they train for good.
        for_good: whether new roles are kept; before a first study the hospital may still change its shares.

    Raises:
        PrivacyError: if the roster on the disk cannot be relied on.
    """
    make_private_folder(folder)
    file = folder / "roster.json"
    with locked(folder / "roster.lock"):
        roster = _read(file)
        new = sorted(set(names) - set(roster.roles))
        # A role outlasts a time without a budget, in which a study may have trained on somebody who was to test.
        others = sorted(name for name in set(names) - set(new) if roster.roles[name] is not Role.TRAIN)
        late = dict.fromkeys(trained(others, False), Role.TRAIN)
        if not new and not late and file.exists():
            return roster
        already = set(trained(new, True))
        made = {name: Role.TRAIN if name in already else role_of(roster.key, name, shares) for name in new}
        whole = Roster(roster.key, {**roster.roles, **made, **late})
        if not for_good and file.exists():
            return whole
        roles = whole.roles if for_good else roster.roles
        write_private(file, _text(Roster(roster.key, roles)), replace=True)
    return whole


def roster_split(
    settings: SiteSettings, patients: Sequence[tuple[str, bool]], study: StudyConfig, trial: Trial, *, for_good: bool
) -> Split:
    """The parts of a site's patients in a trial of a study.

    Args:
        settings: of a site with a privacy budget.
        patients: (name, has a tumour).
        study: its limits on training patients are shares of the number that the hospital declares.
        trial: the repetition of the study.
        for_good: whether new patients' roles are kept.

    Raises:
        RefusalError: for a trial that leaves out a fold: its patients would be scored, and train in other trials.
        PrivacyError: if the roster cannot be relied on.
    """
    own = settings.privacy
    assert own is not None
    if trial.fold:
        raise RefusalError("its patients keep their roles over all studies, so that none of them is left out by turns")

    names = [name for name, _ in patients]
    roster = open_roster(
        settings.privacy_folder(), shares_of(settings), names, partial(_trained, settings), for_good=for_good
    )
    split, tumour = roster.split(names), dict(patients)
    if "train" not in settings.roles:
        return replace(split, train=(), unused=(*split.train, *split.unused))
    train = split.train
    if most := trial.patients or study.most_patients:
        train = roster.within(train, most / own.patients)
    if study.most_tumour_patients:
        kept = set(roster.within(train, study.most_tumour_patients / own.patients))
        train = tuple(name for name in train if not tumour[name] or name in kept)
    return replace(split, train=train)


def shares_of(settings: SiteSettings) -> Shares:
    """Of a site's new patients: at one that only evaluates, all of them test."""
    if "train" not in settings.roles:
        return Shares(train=0.0, validation=0.0, test=1.0)
    return settings.privacy.shares if settings.privacy is not None else Shares()


def roster_of_tests(settings: SiteSettings, names: Sequence[str]) -> Roster:
    """The roster in which these test patients stand: also at a site that only evaluates, and has no budget. There some
    of them may have trained before, and then their role is not to test."""
    return open_roster(settings.privacy_folder(), shares_of(settings), names, partial(_trained, settings))


def roster_key(settings: SiteSettings) -> bytes:
    """The key of a site's roster, which is there once a split was asked for."""
    return _read(settings.privacy_folder() / "roster.json").key


def begin_roster(folder: Path, key: bytes) -> None:
    """Begins a roster with a known key, unless there is one: of a made-up hospital, whose split follows from a seed."""
    make_private_folder(folder)
    with locked(folder / "roster.lock"):
        if not (folder / "roster.json").exists():
            write_private(folder / "roster.json", _text(Roster(key, {})))


def _text(roster: Roster) -> bytes:
    kept = {"key": roster.key.hex(), "roles": {name: role.value for name, role in sorted(roster.roles.items())}}
    return (json.dumps(kept, indent=1) + "\n").encode()


def _trained(settings: SiteSettings, names: Sequence[str], new: bool) -> Iterable[str]:
    before = trained_before(settings, names)
    return names if new and everybody_trained(settings, before) else before.names


def new_key() -> bytes:
    """From the operating system; tests replace it, whose handful of patients shall be split alike every time."""
    return os.urandom(KEY_BYTES)


def _read(file: Path) -> Roster:
    if not file.exists():
        return Roster(new_key(), {})
    try:
        kept: Any = json.loads(file.read_text(encoding="utf-8"))
        key = bytes.fromhex(kept["key"])
        roles = {str(name): Role(role) for name, role in kept["roles"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise PrivacyError(
            f"{file}: is no roster (which patients train and which test), so nothing is trained or scored. Put it back "
            "from a backup. Without one, move it away: everybody who trained is then found in the records of earlier "
            "runs and goes on training, the others are given roles anew"
        ) from error
    if len(key) != KEY_BYTES:
        raise PrivacyError(f"{file}: holds a key of {len(key)} bytes, and {KEY_BYTES} are needed; put back a backup")
    return Roster(key, roles)
