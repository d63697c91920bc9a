"""The coordinator's public reference set: three parts with different patients, each for one purpose."""

import re
from collections.abc import Sequence
from pathlib import Path

from common.errors import DataError
from common.imaging.as_begun import as_begun
from common.imaging.cohort import PreparedCohort
from common.imaging.finding import find_studies
from common.imaging.listing import list_files, listing_digest
from common.imaging.prepare import prepare_cohort
from common.imaging.readers.reader import Reader
from common.imaging.readers.registry import build_reader
from common.imaging.slices import Slices
from common.study.progress import Listener
from server.settings import FINISHED, StudySettings

PARTS = ("pretraining", "selection", "final")
"""For public pre-training; for scoring every round and choosing the best; scored once, for the report."""


def reference_part(
    settings: StudySettings,
    organ: str,
    part: str,
    progress: Listener | None = None,
    *,
    contrasts: Sequence[str] | None = None,
) -> Slices:
    """All slices of one part of an organ's reference set, prepared and cached; ``contrasts`` default to the study's.

    Raises:
        DataError: if the part is missing or holds nothing usable, or shares a patient with another part.
    """
    experiment = settings.experiment
    root = settings.reference[organ]
    folder = root / part
    if not folder.is_dir():
        raise DataError(
            f"{folder}: the reference set needs the folders {', '.join(PARTS)} with different patients in each; "
            f"set reference.{organ}.path"
        )
    reference, config = experiment.reference[organ], experiment.organs[organ]
    channels = list(contrasts or config.contrasts)
    reader = build_reader(reference.reader, organ=organ, contrasts=channels, options=reference.options)
    _check_disjoint(reader, root)
    cohort = prepare_cohort(
        reader,
        folder,
        cache_dir=settings.cache_dir,
        organ=organ,
        contrasts=channels,
        image=experiment.image,
        preprocessing=config.steps,
        min_tumour_pixels=config.min_tumour_pixels,
        progress=progress,
    )
    cohort = _as_begun(settings, cohort, organ, part)
    return cohort.slices([patient.patient for patient in cohort.patients])


def _as_begun(settings: StudySettings, cohort: PreparedCohort, organ: str, part: str) -> PreparedCohort:
    """The patients with which the run's figures began; those of another set are no figures of the same study.

    Raises:
        DataError: naming those that are not what they were.
    """
    file = settings.run_dir / "checkpoints" / "reference" / f"{organ}-{part}.json"
    if not file.exists() and (settings.run_dir / FINISHED).exists():
        # Of a release that did not write this down.
        return cohort
    begun = as_begun(cohort, file)
    if gone := (*begun.missing, *begun.changed):
        raise DataError(
            f"{settings.reference[organ] / part}: {', '.join(gone[:_MOST_TOLD])}"
            f"{f' and {len(gone) - _MOST_TOLD} more' if len(gone) > _MOST_TOLD else ''} not there any more, or other "
            "than when this run began; put the reference set back as it was, or start a new run"
        )
    return begun.cohort


_MOST_TOLD = 5


_disjoint: set[tuple[str, str]] = set()
"""Reference sets, as their files stood, whose parts were seen to share no patient: who owns an image may take the
header of every file to tell."""


def _check_disjoint(reader: Reader, root: Path) -> None:
    """A patient in two parts would be chosen on and then reported on."""
    seen = (repr(reader), listing_digest(root, list_files(root)))
    if seen in _disjoint:
        return
    patients_by_part(reader, root)
    _disjoint.add(seen)


def patients_by_part(reader: Reader, root: Path) -> dict[str, int]:
    """How many patients each part holds; no pixel is read.

    Raises:
        DataError: if one is in two parts.
    """
    owner: dict[str, str] = {}
    counts = {}
    for part in PARTS:
        folder = root / part
        patients = sorted({location.patient for location in find_studies(reader, folder)}) if folder.is_dir() else []
        for patient in patients:
            name = re.sub(r"\W+", "", patient).lower()
            if name in owner:
                raise DataError(f"{root}: {patient} is in both {owner[name]} and {part}; keep it in one part only")
            owner[name] = part
        counts[part] = len(patients)
    return counts
