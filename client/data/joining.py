"""Patients that show the same slices taken for one: they train together or test together, and count once."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from client.data.near_copies import Pair, copies
from common.errors import DamagedFileError
from common.imaging.cache import PreparedPatient
from common.imaging.cohort import PreparedCohort
from common.imaging.slices import PatientSlices
from common.system.files import read_json, write_json

_KEPT = "copies.json"


@dataclass(frozen=True)
class JoinedPatient(PreparedPatient):
    """Several patients as one, under the first of their names.

    Attributes:
        parts: they, each with its own arrays.
    """

    parts: tuple[PreparedPatient, ...] = ()

    def open(self) -> PatientSlices:
        """All slices, those of one part after those of another."""
        opened = [part.open() for part in self.parts]
        organ = [one.foreground if one.organ is None else one.organ for one in opened]
        return PatientSlices(
            patient=self.patient,
            images=np.concatenate([one.images for one in opened]),
            labels=np.concatenate([one.labels for one in opened]),
            foreground=np.concatenate([one.foreground for one in opened]),
            organ=None if all(one.organ is None for one in opened) else np.concatenate(organ),
            tumour_slices=None if self.tumour_slices is None else np.asarray(self.tumour_slices, dtype=np.bool_),
            lesion_pixels=np.asarray(self.lesion_pixels, dtype=np.int64),
        )


def copies_of(cohort: PreparedCohort) -> tuple[Pair, ...]:
    """Every two patients of a cohort that share a slice; found once, and kept in the cache while nothing changes."""
    if len(cohort.patients) < 2:
        return ()
    file = cohort.patients[0].folder.parent / _KEPT
    whose = [f"{patient.patient}\x1f{patient.signature}" for patient in cohort.patients]
    key = hashlib.sha256("\x1e".join(whose).encode()).hexdigest()
    if (kept := _kept(file, key)) is not None:
        return kept
    slices = sum(patient.slices for patient in cohort.patients)
    found = copies((patient.open() for patient in cohort.patients), slices)
    write_json(file, {"of": key, "pairs": [[pair.one, pair.other, pair.exact] for pair in found]})
    return found


def _kept(file: Path, key: str) -> tuple[Pair, ...] | None:
    try:
        values = read_json(file)
        return tuple(Pair(*pair) for pair in values["pairs"]) if values["of"] == key else None
    except (OSError, DamagedFileError, KeyError, TypeError):
        return None


def join(cohort: PreparedCohort, groups: Sequence[Sequence[str]]) -> PreparedCohort:
    """The cohort with the patients of each group as one, under the first name; names that it lacks are passed over."""
    by_name = {patient.patient: patient for patient in cohort.patients}
    for names in groups:
        parts = [by_name.pop(name) for name in names if name in by_name]
        if parts:
            # Under the group's first name in every contrast, also where that patient lacks this one.
            by_name[names[0]] = _joined(names[0], parts)
    return replace(cohort, patients=tuple(by_name[name] for name in sorted(by_name)))


def _joined(name: str, parts: Sequence[PreparedPatient]) -> JoinedPatient:
    stated = any(part.tumour_slices is not None for part in parts)
    return JoinedPatient(
        patient=name,
        signature="\x1f".join(part.signature for part in parts),
        has_tumour=any(part.has_tumour for part in parts),
        slices=sum(part.slices for part in parts),
        studies=tuple(study for part in parts for study in part.studies),
        lesion_pixels=tuple(pixels for part in parts for pixels in part.lesion_pixels),
        tumour_slices=tuple(
            bool(one)
            for part in parts
            for one in (part.tumour_slices or tuple(pixels > 0 for pixels in part.lesion_pixels))
        )
        if stated
        else None,
        quarantined=tuple(bad for part in parts for bad in part.quarantined),
        folder=parts[0].folder,
        parts=tuple(parts),
    )
