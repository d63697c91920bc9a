"""A folder of studies becomes a cohort: each patient is read, preprocessed and cached once."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt

from common.errors import BadStudyError, DataError
from common.imaging.cache import PatientCache, PreparedPatient, cache_key
from common.imaging.cohort import PreparedCohort
from common.imaging.dicom.files import quiet
from common.imaging.facts import StudyFacts
from common.imaging.finding import find_studies, told_of
from common.imaging.listing import Stamp, as_text, list_files, listing_digest, signature
from common.imaging.patient import Quarantined, StudyLocation
from common.imaging.preprocessing import preprocess
from common.imaging.readers.reader import Reader
from common.imaging.remarks import OpenQuestion, Remark, Tally, open_questions, tallied
from common.imaging.slices import PatientSlices
from common.study.experiment import ImageConfig, PreprocessingConfig
from common.study.progress import Listener, piece_done


@dataclass(frozen=True)
class PreparedFolder:
    """Everything that was found below a folder, usable or not.

    Attributes:
        patients: every patient, sorted by name.
        studies: how many studies they have.
        passed_over: files that belong to no study.
        unnamed: patient -> where the study lies that stands for it, because nothing names its patient.
    """

    patients: tuple[PreparedPatient, ...]
    studies: int
    passed_over: tuple[Tally, ...]
    unnamed: Mapping[str, str]

    @property
    def patients_known(self) -> bool:
        """False if the data set names no patients at all; where it does not name some, ``remarks`` say so."""
        return not self.unnamed or len(self.unnamed) < len(self.patients)

    @property
    def identifying(self) -> dict[str, int]:
        """Header fields that may identify a person -> how many patients have them."""
        return dict(sorted(Counter(keyword for patient in self.patients for keyword in patient.identifying).items()))

    @property
    def remarks(self) -> tuple[Tally, ...]:
        """What was not taken up, or was read on a guess."""
        told = [(one, patient.patient) for patient, study in self._studies for one in study.remarks]
        if self.patients_known:
            told += [(_UNNAMED, place) for place in self.unnamed.values()]
        return (*self.passed_over, *tallied(told))

    @property
    def questions(self) -> tuple[OpenQuestion, ...]:
        """What the hospital has to say before the studies concerned can be used."""
        return open_questions((one, patient.patient) for patient, study in self._studies for one in study.questions)

    @property
    def _studies(self) -> list[tuple[PreparedPatient, StudyFacts]]:
        return [(patient, study) for patient in self.patients for study in patient.studies]


def prepare_cohort(
    reader: Reader,
    root: Path,
    *,
    cache_dir: Path,
    organ: str,
    contrasts: Sequence[str],
    image: ImageConfig,
    preprocessing: PreprocessingConfig,
    min_tumour_pixels: int = 1,
    only: Collection[str] | None = None,
    identifying_data: str = "refuse",
    masks: bool | None = None,
    progress: Listener | None = None,
) -> PreparedCohort:
    """Every usable patient below ``root``, from the cache where its files have not changed since.

    A study that cannot be used is left out with its reason, and looked at again only when its files change. So is one
    whose headers may identify the person. An interrupted preparation goes on with the next patient. Where some
    patients have masks, those without are left out; where none has, the cohort says so (``has_masks``).

    Args:
        reader: its ``repr`` must name its options, as a dataclass's does: it is part of the cache's key.
        cache_dir: the folder of all caches.
        min_tumour_pixels: from how many lesion pixels on a slice counts as one with a tumour.
        only: names of the patients that take part; None takes all.
        masks: whether the data set has tumour masks or classes: with True, patients without any are left out, whoever
            else has one; with False, none is; None decides by whether somebody has.
        identifying_data: ``quarantine`` leaves studies with identifying headers out and goes on; ``refuse`` does not
            go on while there is one.

    Raises:
        DataError: if nothing below ``root`` is usable (the text counts what was found and gives the first reasons),
            a patient in ``only`` is not there, a header identifies a person and ``identifying_data`` is ``refuse``,
            the folder may not be read, or the cache cannot be written.
    """
    found = prepare_folder(
        reader,
        root,
        cache_dir=cache_dir,
        organ=organ,
        contrasts=contrasts,
        image=image,
        preprocessing=preprocessing,
        only=only,
        progress=progress,
    )
    if identifying_data == "refuse" and found.identifying:
        raise DataError(
            f"{root}: the headers of {sum(bool(p.identifying) for p in found.patients)} of {len(found.patients)} "
            f"patients may identify them ({', '.join(found.identifying)}); de-identify these studies, or set "
            "identifying_data: quarantine in site.yaml to leave them out"
        )
    usable = [patient for patient in found.patients if patient.slices]
    quarantine = [bad for patient in found.patients for bad in patient.quarantined]
    if masks or (masks is None and any(patient.has_masks for patient in usable)):
        quarantine += [Quarantined(p.patient, p.studies[0].path, _NO_MASK) for p in usable if not p.has_masks]
        usable = [patient for patient in usable if patient.has_masks]
    if not usable:
        reasons = "; ".join(f"{bad.patient}: {bad.reason}" for bad in quarantine[:3])
        answer = "name in the options of site.yaml what oncofed-client doctor asks for, "
        raise DataError(
            f"{root}: none of {found.studies} studies can be used, all {len(quarantine)} are quarantined ({reasons}"
            f"{'; ...' if len(quarantine) > 3 else ''}); {answer if found.questions else ''}if these are not the ones, "
            "set the site's path to theirs"
        )
    return PreparedCohort(
        organ=organ,
        contrasts=tuple(contrasts),
        patients=tuple(usable),
        quarantine=tuple(quarantine),
        patients_known=any(patient.patient not in found.unnamed for patient in usable),
        unnamed=sum(patient.patient in found.unnamed for patient in usable),
        min_tumour_pixels=min_tumour_pixels,
        remarks=found.remarks,
        questions=found.questions,
    )


def prepare_folder(
    reader: Reader,
    root: Path,
    *,
    cache_dir: Path,
    organ: str,
    contrasts: Sequence[str],
    image: ImageConfig,
    preprocessing: PreprocessingConfig,
    only: Collection[str] | None = None,
    progress: Listener | None = None,
) -> PreparedFolder:
    """Reads, preprocesses and caches every patient below ``root``, whatever comes of it.

    Raises:
        DataError: as :func:`prepare_cohort` for a folder or cache that cannot be used at all.
    """
    key = cache_key(
        reader=repr(reader),
        root=str(root.resolve()),
        organ=organ,
        contrasts=list(contrasts),
        image=image,
        preprocessing=preprocessing,
    )
    cache = PatientCache(cache_dir, key)
    try:
        files = list_files(root) if root.is_dir() else {}
        locations, over = _find(reader, root, files, cache)
    except PermissionError as error:
        raise DataError(
            f"{error.filename or root}: not allowed to read; give the user of this program access"
        ) from error
    if only is not None:
        locations = _chosen(locations, only, root)
    studies = {name: list(group) for name, group in groupby(locations, key=lambda location: location.patient)}
    entries = []
    for done, (name, group) in enumerate(studies.items(), start=1):
        current = signature(group, files)
        entry = cache.load(name, current)
        if entry is None:
            entry = _prepare_patient(reader, name, group, current, cache, image, preprocessing)
        entries.append(entry)
        if progress is not None:
            progress(piece_done(done, len(studies), name))
    return PreparedFolder(
        patients=tuple(entries),
        studies=len(locations),
        passed_over=over,
        unnamed={one.patient: _place(root, one) for one in locations if not one.patient_known},
    )


_UNNAMED = Remark("guess", "the header names no patient, so that each such study counts as a patient of its own")
_NO_MASK = "there is no tumour mask, so it cannot be trained on"
_ASKED = (
    "it would count as tumour-free, but holds what nobody has said whether it is a tumour; doctor lists it, and the "
    "options of site.yaml that answer it"
)


def _place(root: Path, location: StudyLocation) -> str:
    """Where a study lies below ``root``; its first file where it has no folder of its own."""
    path = location.files[0] if location.path == root and location.files else location.path
    return as_text((path.relative_to(root) if path.is_relative_to(root) else path).as_posix())


def _find(
    reader: Reader, root: Path, files: Mapping[Path, Stamp], cache: PatientCache
) -> tuple[list[StudyLocation], tuple[Tally, ...]]:
    """What the reader finds, sorted by patient, and what it passes over; remembered while the folder looks the same."""
    listing = listing_digest(root, files)
    known = cache.found(listing) if files else None
    if known is not None:
        return known
    with quiet():
        found = find_studies(reader, root, files)
    over = told_of(root, files, found)
    locations = [replace(one, remarks=()) for one in found]  # They are told of the folder, not again of each study.
    cache.keep_found(listing, locations, over)
    return locations, over


def _chosen(locations: list[StudyLocation], only: Collection[str], root: Path) -> list[StudyLocation]:
    missing = sorted(set(only) - {location.patient for location in locations})
    if missing:
        raise DataError(
            f"{root}: {len(missing)} of the {len(set(only))} patients that should take part are not there, e.g. "
            f"{missing[0]!r}; correct the site's list of patients"
        )
    return [location for location in locations if location.patient in only]


def _prepare_patient(
    reader: Reader,
    name: str,
    group: list[StudyLocation],
    current_signature: str,
    cache: PatientCache,
    image: ImageConfig,
    steps: PreprocessingConfig,
) -> PreparedPatient:
    studies: list[tuple[StudyFacts, PatientSlices, bool]] = []
    left_out: list[StudyFacts] = []
    quarantined = []
    for location in group:
        try:
            with quiet():
                patient = reader.read(location)
            facts = StudyFacts.of(patient)
            if patient.identifying:
                left_out.append(facts)
                keywords = ", ".join(patient.identifying)
                raise BadStudyError(f"its headers may identify the person ({keywords}); de-identify it first")
            if patient.questions:
                left_out.append(facts)
                raise BadStudyError(_ASKED)
            prepared = preprocess(patient, image, steps)
            facts = replace(facts, remarks=(*facts.remarks, *prepared.remarks))
            studies.append((facts, prepared, patient.has_tumour))
        except BadStudyError as error:
            quarantined.append(Quarantined(name, location.path, error.reason))
    if any(facts.has_mask or slices.tumour_slices is not None for facts, slices, _ in studies):
        for study in [one for one in studies if not one[0].has_mask and one[1].tumour_slices is None]:
            studies.remove(study)
            quarantined.append(Quarantined(name, study[0].path, _NO_MASK))
    slices = _joined(name, [prepared for _, prepared, _ in studies]) if studies else None
    stated = slices.tumour_slices if slices else None
    entry = PreparedPatient(
        patient=name,
        signature=current_signature,
        has_tumour=any(has_tumour for _, _, has_tumour in studies),
        slices=len(slices.images) if slices else 0,
        studies=(*(facts for facts, _, _ in studies), *left_out),
        lesion_pixels=tuple(_lesion_pixels(slices).tolist()) if slices else (),
        tumour_slices=None if stated is None else tuple(stated.tolist()),
        quarantined=tuple(quarantined),
    )
    return cache.store(entry, slices)


def _joined(name: str, studies: list[PatientSlices]) -> PatientSlices:
    """The slices of several studies of one patient, one after another."""
    if len(studies) == 1:
        return studies[0]
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
        organ=None
        if all(study.organ is None for study in studies)
        else np.concatenate([study.foreground if study.organ is None else study.organ for study in studies]),
        tumour_slices=stated,
    )


def _lesion_pixels(slices: PatientSlices) -> npt.NDArray[np.int64]:
    return np.asarray(np.count_nonzero(slices.labels, axis=(1, 2)), dtype=np.int64)
