"""The coordinator's public reference set: three parts with different patients, each for one purpose."""

import re
from collections.abc import Sequence
from pathlib import Path

from common.errors import DataError
from common.imaging.finding import find_studies
from common.imaging.listing import list_files, listing_digest
from common.imaging.prepare import Progress, prepare_cohort
from common.imaging.readers.reader import Reader
from common.imaging.readers.registry import build_reader
from common.imaging.slices import Slices
from server.settings import StudySettings

PARTS = ("pretraining", "selection", "final")
"""For public pre-training; for scoring every round and choosing the best; scored once, for the report."""


def reference_part(
    settings: StudySettings,
    organ: str,
    part: str,
    progress: Progress | None = None,
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
    return cohort.slices([patient.patient for patient in cohort.patients])


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
