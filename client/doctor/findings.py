"""What is odd in a site's studies: pure functions of what the cache's index says of each."""

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median

import numpy as np

from client.data.near_copies import Pair, joined
from client.doctor.examination import Duplicate, DuplicateKind, LesionRow, Named, Outlier, StudyRow, named
from client.doctor.visits import visits
from common.imaging.cache import PreparedPatient
from common.imaging.cohort import PreparedCohort
from common.imaging.facts import PERCENTILES
from common.imaging.listing import as_text

_FEWEST = 4
"""Fewer studies have no usual value to differ from."""
_SPACING_FACTOR = 1.5
_MRI_FACTOR = 4.0
_CT_SHIFT = 300.0
_AIR = -500.0
_METAL = 2000.0
_DARK, _BRIGHT = 0.001, 0.999


def study_rows(patients: Iterable[PreparedPatient]) -> list[StudyRow]:
    """Every study that could be read."""
    return [
        StudyRow(
            patient=patient.patient,
            path=as_text(str(study.path)),
            modality=study.modality,
            shape=study.shape,
            spacing=study.spacing,
            spacing_known=study.spacing_known,
            intensities={
                contrast: {str(percentile): value for percentile, value in zip(PERCENTILES, values, strict=True)}
                for contrast, values in study.intensities.items()
            },
            has_mask=study.has_mask,
            tumour_slices=study.tumour_slices,
            lesion_mm3=study.lesion_mm3,
            lesions=[
                LesionRow(
                    volume_mm3=lesion.volume_mm3,
                    readers=lesion.readers,
                    malignancy=lesion.malignancy,
                    malignant=lesion.is_malignant,
                )
                for lesion in study.lesions
            ],
            identifying=list(study.identifying),
            digest=study.digest,
        )
        for patient in patients
        for study in patient.studies
    ]


def duplicates(patients: Sequence[PreparedPatient], patients_known: bool) -> list[Duplicate]:
    """Equal studies under several names or paths, names that look like one person's, patients with several studies.

    Where the data set names no patients, every image has a name of its own, and names say nothing.
    """
    by_pixels: dict[str, list[Named]] = defaultdict(list)
    by_name: dict[str, list[Named]] = defaultdict(list)
    for patient in patients:
        plain = re.sub(r"[\W_]+", "", patient.patient).casefold()
        places = [study.path for study in patient.studies] or [bad.path for bad in patient.quarantined]
        by_name[plain].append(named(patient.patient, places[0]))
        for study in patient.studies:
            by_pixels[study.digest].append(named(patient.patient, study.path))
    several = [
        [named(patient.patient, study.path) for study in patient.studies]
        for patient in patients
        if len(patient.studies) > 1
    ]
    found = _several("same_pixels", by_pixels.values())
    if patients_known:
        found += _several("similar_names", by_name.values()) + _several("shared_stem", _visits(patients))
        found += _several("several_studies", several)
    return found


def _visits(patients: Sequence[PreparedPatient]) -> list[list[Named]]:
    places = {patient.patient: [study.path for study in patient.studies] for patient in patients}
    return [[named(name, next(iter(places[name]), Path())) for name in names] for names in visits(list(places))]


def shared_slices(patients: Sequence[PreparedPatient], pairs: Sequence[Pair]) -> list[Duplicate]:
    """Patients that show the same slices, equal or saved anew, group by group."""
    places = {patient.patient: patient.studies[0].path if patient.studies else Path() for patient in patients}
    found = []
    for names in joined(pairs):
        exact = any(pair.exact for pair in pairs if pair.one in names)
        kind: DuplicateKind = "same_slices" if exact else "near_copies"
        found.append(Duplicate(kind=kind, studies=[named(name, places[name]) for name in names]))
    return found


def _several(kind: DuplicateKind, groups: Iterable[list[Named]]) -> list[Duplicate]:
    return [Duplicate(kind=kind, studies=group) for group in groups if len(group) > 1]


def outliers(studies: Sequence[StudyRow]) -> list[Outlier]:
    """Studies whose voxels are larger, smaller, brighter or darker than this site's median by a wide margin.

    Spacing: by a factor of 1.5 along an axis. MRI, whose units are arbitrary: the 99th percentile by a factor of 4. CT:
    the median by 300 HU; or, whatever is usual here, no value as dark as air, or a hundredth of the voxels brighter
    than bone, as a wrong rescale intercept or slope makes them. Among fewer than four studies nothing is usual.
    """
    found = [outlier for study in studies for outlier in _implausible(study)]
    if len(studies) < _FEWEST:
        return found
    for axis, direction in enumerate(("between slices", "down", "across")):
        known = [study for study in studies if study.spacing_known]
        usual = median(study.spacing[axis] for study in known) if known else 0.0
        for study in known:
            if _factor(study.spacing[axis], usual) > _SPACING_FACTOR:
                what = f"spacing {direction}"
                found.append(_outlier(study, what, f"{study.spacing[axis]:.2f} mm", f"{usual:.2f} mm"))
    for contrast in sorted({contrast for study in studies for contrast in study.intensities}):
        shown = [(study, study.intensities[contrast]) for study in studies if contrast in study.intensities]
        percentile = "50" if contrast == "ct" else "99"
        usual = median(values[percentile] for _, values in shown)
        for study, values in shown:
            value = values[percentile]
            odd = abs(value - usual) > _CT_SHIFT if contrast == "ct" else _factor(value, usual) > _MRI_FACTOR
            if odd:
                unit = " HU" if contrast == "ct" else ""
                what = "median intensity" if contrast == "ct" else f"brightness of {contrast} (99th percentile)"
                found.append(_outlier(study, what, f"{value:.0f}{unit}", f"{usual:.0f}{unit}"))
    return found


def _implausible(study: StudyRow) -> list[Outlier]:
    """CT whose Hounsfield units cannot be right."""
    values = study.intensities.get("ct")
    if values is None:
        return []
    found = []
    if values["0"] > _AIR:
        what = "darkest value; is the rescale intercept right?"
        found.append(_outlier(study, what, f"{values['0']:.0f} HU", "-1000 HU (air)"))
    if values["99"] > _METAL:
        what = "99th percentile; is the rescale slope right?"
        found.append(_outlier(study, what, f"{values['99']:.0f} HU", "below 1000 HU"))
    return found


def _factor(value: float, usual: float) -> float:
    """By what factor a positive figure differs, either way; infinite if one of them is not positive."""
    if value <= 0 or usual <= 0:
        return 1.0 if value == usual else math.inf
    return max(value / usual, usual / value)


def _outlier(study: StudyRow, what: str, value: str, usual: str) -> Outlier:
    return Outlier(patient=study.patient, path=study.path, what=what, value=value, usual=usual)


def clipped_shares(cohort: PreparedCohort, most_patients: int = 12) -> dict[str, tuple[float, float]]:
    """Contrast -> shares of the foreground's pixels at the dark and at the bright end of the window, in [0, 1].

    Both are small where the window suits the images. A sample of patients is looked at.
    """
    step = max(1, -(-len(cohort.patients) // most_patients))
    opened = [patient.open() for patient in cohort.patients[::step]]
    shares = {}
    for channel, contrast in enumerate(cohort.contrasts):
        inside = np.concatenate([one.images[:, channel][np.asarray(one.foreground) > 0] for one in opened])
        if len(inside):
            shares[contrast] = (float((inside <= _DARK).mean()), float((inside >= _BRIGHT).mean()))
    return shares
