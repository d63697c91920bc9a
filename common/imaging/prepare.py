"""A folder of studies becomes a cohort: each patient is read, preprocessed and cached once."""

from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt

from common.config import ImageConfig, PreprocessingConfig
from common.errors import BadStudyError, DataError
from common.imaging.cache import PatientCache, PreparedPatient, cache_key, signature
from common.imaging.cohort import PreparedCohort
from common.imaging.patient import LESION_LABELS, Patient, Quarantined, StudyLocation
from common.imaging.preprocessing import preprocess
from common.imaging.readers.reader import Reader
from common.imaging.slices import PatientSlices

Progress = Callable[[int, int, str], None]
"""Called after each patient with patients done, patients in all, and the patient's name."""


def prepare_cohort(
    reader: Reader,
    root: Path,
    *,
    cache_dir: Path,
    organ: str,
    contrasts: Sequence[str],
    image: ImageConfig,
    preprocessing: PreprocessingConfig,
    progress: Progress | None = None,
) -> PreparedCohort:
    """Every usable patient below ``root``, from the cache where its files have not changed since.

    A study that cannot be used is left out with its reason, and looked at again only when its files change. An
    interrupted preparation goes on with the next patient.

    Args:
        reader: its ``repr`` must name its options, as a dataclass's does: it is part of the cache's key.
        cache_dir: the folder of all caches.

    Raises:
        DataError: if nothing below ``root`` is usable (the text counts what was found and gives the first reasons),
            it may not be read, or the cache cannot be written.
    """
    try:
        locations = sorted(reader.find(root), key=lambda location: location.patient)
    except PermissionError as error:
        raise DataError(
            f"{error.filename or root}: not allowed to read; give the user of this program access"
        ) from error
    key = cache_key(
        reader=repr(reader),
        root=str(root.resolve()),
        organ=organ,
        contrasts=list(contrasts),
        image=image,
        preprocessing=preprocessing,
    )
    cache = PatientCache(cache_dir, key)
    studies = {name: list(group) for name, group in groupby(locations, key=lambda location: location.patient)}
    entries = []
    for done, (name, group) in enumerate(studies.items(), start=1):
        current = signature(group)
        entry = cache.load(name, current)
        if entry is None:
            entry = _prepare_patient(reader, name, group, current, cache, image, preprocessing)
        entries.append(entry)
        if progress is not None:
            progress(done, len(studies), name)
    quarantine = tuple(bad for entry in entries for bad in entry.quarantined)
    usable = tuple(entry for entry in entries if entry.slices)
    if not usable:
        reasons = "; ".join(f"{bad.patient}: {bad.reason}" for bad in quarantine[:3])
        raise DataError(
            f"{root}: none of {len(locations)} studies can be used, all {len(quarantine)} are quarantined ({reasons}"
            f"{'; ...' if len(quarantine) > 3 else ''}); mend the files or set the site's path to another folder"
        )
    return PreparedCohort(
        organ=organ,
        contrasts=tuple(contrasts),
        patients=usable,
        quarantine=quarantine,
        patients_known=all(location.patient_known for location in locations),
    )


def _prepare_patient(
    reader: Reader,
    name: str,
    group: list[StudyLocation],
    current_signature: str,
    cache: PatientCache,
    image: ImageConfig,
    steps: PreprocessingConfig,
) -> PreparedPatient:
    studies: list[tuple[Patient, PatientSlices]] = []
    quarantined = []
    for location in group:
        try:
            patient = reader.read(location)
            studies.append((patient, preprocess(patient, image, steps)))
        except BadStudyError as error:
            quarantined.append(Quarantined(name, location.path, error.reason))
    slices = _joined(name, [prepared for _, prepared in studies]) if studies else None
    first = studies[0][0] if studies else None
    stated = slices.tumour_slices if slices else None
    entry = PreparedPatient(
        patient=name,
        signature=current_signature,
        has_tumour=any(patient.has_tumour for patient, _ in studies),
        slices=len(slices.images) if slices else 0,
        spacing=first.spacing if first else (1.0, 1.0, 1.0),
        spacing_known=first.spacing_known if first else False,
        lesion_mm3=sum(_lesion_mm3(patient) for patient, _ in studies),
        lesion_pixels=tuple(_lesion_pixels(slices).tolist()) if slices else (),
        tumour_slices=None if stated is None else tuple(stated.tolist()),
        quarantined=tuple(quarantined),
    )
    return cache.store(entry, slices)


def _joined(name: str, studies: list[PatientSlices]) -> PatientSlices:
    """The slices of several studies of one patient, one after another."""
    stated = None
    if any(study.tumour_slices is not None for study in studies):
        stated = np.concatenate(
            [_lesion_pixels(study) > 0 if study.tumour_slices is None else study.tumour_slices for study in studies]
        )
    return PatientSlices(
        patient=name,
        images=np.concatenate([study.images for study in studies]),
        labels=np.concatenate([study.labels for study in studies]),
        foreground=np.concatenate([study.foreground for study in studies]),
        tumour_slices=stated,
    )


def _lesion_pixels(slices: PatientSlices) -> npt.NDArray[np.int64]:
    return np.asarray(np.isin(slices.labels, LESION_LABELS).sum(axis=(1, 2)), dtype=np.int64)


def _lesion_mm3(patient: Patient) -> float:
    if patient.labels is None:
        return 0.0
    return float(np.isin(patient.labels, LESION_LABELS).sum() * np.prod(patient.spacing))
