"""Synthetic slices in a private run: each depends on one patient alone, and so does what it adds to a step.

Drawn over all patients and dealt out afterwards, the slices of each would change with who else is there, and a
classifier that learns from them would owe one patient more than the clipping bound.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from client.data.site_data import SiteData
from client.data.work import WorkFolder
from client.privacy.slices import for_noised_steps, kept_here
from client.study.arms import SOURCES, keep_images, made_images, made_of, synthetic_ratio
from common.errors import RefusalError
from common.imaging.slices import PatientSlices, Slices
from common.seeding import Label, derive_seed
from common.study.experiment import MIXING_ARMS
from common.training.kinds import GeneratorTrainer, SyntheticSlices

SLICES_OF_A_PATIENT = 16
"""Stands in for the slices of a patient, whose number is not public: so many are made of each, times the ratio."""


def make_private_images(data: SiteData, work: WorkFolder, trainer: GeneratorTrainer[Any], seed: int) -> None:
    """Makes and keeps the same number of synthetic slices of each training patient, by its own seed and in its own
    slices; of a patient whose slices leave no place for a lesion, none."""
    slices = kept_here(data)
    count = max(2, round(synthetic_ratio(data.study) * SLICES_OF_A_PATIENT))
    # First of all that there are none: whatever fails from here on must not show in what is answered later.
    made = [_none_of(slices, data.study.experiment.image.size)]
    keep_images(data, work, "synthetic", made[0], owner=torch.zeros(0, dtype=torch.int64))
    owner: list[int] = []
    first = 0
    log = work.log
    for index, patient in enumerate(slices.patients):
        alone = Slices(slices.organ, slices.contrasts, [patient], slices.min_tumour_pixels)
        try:
            own = trainer.synthesise(alone, count, derive_seed(seed, Label.PATIENT, patient.patient))
        except MemoryError:
            raise
        except Exception:
            # As for a draw: a failure because of one patient would tell of that patient.
            log.exception("no slices are made of a patient", extra={"fields": {"patient": patient.patient}})
        else:
            made.append(_moved(own, first))
            owner += [index] * len(own)
        first += len(alone)
    keep_images(data, work, "synthetic", _joined(made), owner=torch.tensor(owner, dtype=torch.int64))


def patient_sources(data: SiteData, work: WorkFolder, arm: str) -> list[Slices]:
    """What a private classifier of ``arm`` learns from, by patient.

    Raises:
        RefusalError: for an arm whose images mix patients, or if the images it needs were not made here yet.
    """
    if arm in MIXING_ARMS or arm not in SOURCES:
        raise RefusalError("it trains no arm whose images mix patients")
    real, name = SOURCES[arm]
    training = for_noised_steps(data)
    sources = [training] if real else []
    if name is not None:
        made, owner = made_images(work, name), made_of(work, name)
        sources.append(_by_patient(made, owner, training))
    return sources


def _by_patient(made: SyntheticSlices, owner: Tensor, training: Slices) -> Slices:
    patients = [
        PatientSlices(
            patient=patient.patient,
            images=made.images[owner == index].numpy().astype(np.float16),
            labels=made.labels[owner == index].numpy(),
            foreground=made.foreground[owner == index].numpy().astype(np.uint8),
            tumour_slices=made.tumour[owner == index].numpy(),
        )
        for index, patient in enumerate(training.patients)
    ]
    return Slices(training.organ, training.contrasts, patients, training.min_tumour_pixels)


def _moved(made: SyntheticSlices, first: int) -> SyntheticSlices:
    """The same, with origins counted over all patients."""
    origin = torch.where(made.origin >= 0, made.origin + first, made.origin)
    return SyntheticSlices(made.images, made.labels, made.tumour, made.foreground, origin)


def _none_of(slices: Slices, size: int) -> SyntheticSlices:
    images, maps = torch.zeros(0, len(slices.contrasts), size, size), torch.zeros(0, size, size)
    nothing = torch.zeros(0, dtype=torch.int64)
    return SyntheticSlices(images, maps.byte(), nothing.bool(), maps.bool(), nothing)


def _joined(made: list[SyntheticSlices]) -> SyntheticSlices:
    def of(name: str) -> Tensor:
        return torch.cat([getattr(one, name) for one in made])

    return SyntheticSlices(of("images"), of("labels"), of("tumour"), of("foreground"), of("origin"))
