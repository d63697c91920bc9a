"""A few slices as a study would see them, so that a wrong window or a shifted mask is seen at a glance."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from common.imaging.cache import PreparedPatient
from common.imaging.cohort import PreparedCohort
from common.report.images import Picture, picture


@dataclass(frozen=True)
class Strip:
    """Pictures of one contrast: patients with a tumour, then some without."""

    title: str
    pictures: Sequence[Picture]


def strips(cohort: PreparedCohort, with_tumour: int = 6, without: int = 2) -> list[Strip]:
    """One strip a contrast, of the same slices: the largest lesion of some patients, the middle slice of others.

    Patients are taken evenly from the sorted list, so that a fault in a part of an archive has a chance to be seen.
    """
    tumour = _evenly([patient for patient in cohort.patients if max(patient.lesion_pixels, default=0)], with_tumour)
    healthy = _evenly([patient for patient in cohort.patients if not patient.has_tumour], without)
    chosen = [(patient, int(np.argmax(patient.lesion_pixels))) for patient in tumour]
    # A patient may have a tumour that nobody has outlined.
    others = healthy or ([] if tumour else _evenly(cohort.patients, with_tumour + without))
    chosen += [(patient, patient.slices // 2) for patient in others]
    return [
        Strip(contrast, [_picture(patient, position, channel, contrast) for patient, position in chosen])
        for channel, contrast in enumerate(cohort.contrasts)
    ]


def _picture(patient: PreparedPatient, position: int, channel: int, contrast: str) -> Picture:
    slices = patient.open()
    return picture(
        np.asarray(slices.images[position, channel], dtype=np.float32),
        f"{contrast}, slice {position + 1} of {patient.slices} of patient {patient.patient}",
        label=f"{patient.patient}, slice {position + 1}",
        labels=np.asarray(slices.labels[position]),
    )


def _evenly(patients: Sequence[PreparedPatient], most: int) -> list[PreparedPatient]:
    if len(patients) <= most:
        return list(patients)
    return [patients[round(i * (len(patients) - 1) / max(1, most - 1))] for i in range(most)]
