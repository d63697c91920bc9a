"""The patients that a run began with: later ones take no part in it, and those of the beginning are what they were.

A run may stop for days, while its folder of images grows or is mended. Whoever then divided the patients anew could
test on somebody who has trained.
"""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from common.errors import DamagedFileError
from common.imaging.cache import PreparedPatient
from common.imaging.cohort import PreparedCohort
from common.system.file_lock import locked
from common.system.files import read_table, write_json


@dataclass(frozen=True)
class AsBegun:
    """A cohort beside the one that its run began with.

    Attributes:
        cohort: the patients of the beginning, as far as they are there.
        later: names of patients that came since; they are not in ``cohort``.
        missing: names of patients that are not there any more, or cannot be used.
        changed: names of patients whose slices, outlines or class are others than they were.
    """

    cohort: PreparedCohort
    later: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


def as_begun(cohort: PreparedCohort, file: Path) -> AsBegun:
    """Writes down in ``file`` which patients a run begins with, or compares with what is written there.

    Each set of contrasts is written down by itself; a patient that lacks one of them is in the others all the same. A
    cohort without patients is nothing to begin with, and is not written down.

    Raises:
        DamagedFileError: if the file is not what was written.
    """
    contrasts = ",".join(cohort.contrasts)
    begun = _read(file).get(contrasts)
    if begun is None:
        _write(file, contrasts, cohort)
        return AsBegun(cohort)
    if not isinstance(begun, dict) or not all(_is_told(one) for one in begun.values()):
        raise DamagedFileError(file, "does not say which patients this run began with")
    kept = tuple(one for one in cohort.patients if one.patient in begun)
    here = {one.patient for one in cohort.patients}
    return AsBegun(
        replace(cohort, patients=kept),
        later=tuple(one.patient for one in cohort.patients if one.patient not in begun),
        missing=tuple(name for name in sorted(begun) if name not in here),
        changed=tuple(one.patient for one in kept if not _is_same(one, begun[one.patient])),
    )


def _read(file: Path) -> dict[str, Any]:
    return read_table(file) if file.exists() else {}


def _write(file: Path, contrasts: str, cohort: PreparedCohort) -> None:
    if not cohort.patients:
        return
    told = {one.patient: _told(one) for one in cohort.patients}
    file.parent.mkdir(parents=True, exist_ok=True)
    with locked(file.with_suffix(".lock")):
        write_json(file, {contrasts: told, **_read(file)})


def _told(patient: PreparedPatient) -> dict[str, Any]:
    return {"tumour": patient.has_tumour, "made_from": _made_from(patient), "content": _content(patient)}


def _is_told(told: object) -> bool:
    return isinstance(told, dict) and {"tumour", "made_from", "content"} <= set(told)


def _is_same(patient: PreparedPatient, told: dict[str, Any]) -> bool:
    # Files that were copied, or put back from a backup, are other files with the same content.
    same = told["made_from"] == _made_from(patient) or told["content"] == _content(patient)
    return same and bool(told["tumour"]) == patient.has_tumour


def _made_from(patient: PreparedPatient) -> str:
    """Alike for the same files prepared in the same way; takes no look at a slice."""
    return hashlib.sha256(f"{patient.folder.parent.name}\x1f{patient.signature}".encode()).hexdigest()


def _content(patient: PreparedPatient) -> str:
    """Alike for the same slices, outlines and classes, wherever they came from."""
    slices, digest = patient.open(), hashlib.sha256()
    for name in ("images", "labels", "foreground", "organ", "tumour_slices", "lesion_pixels"):
        array = getattr(slices, name)
        if array is not None:
            digest.update(f"{name} {array.dtype} {array.shape}\x1f".encode())
            digest.update(array.tobytes())
    return digest.hexdigest()
