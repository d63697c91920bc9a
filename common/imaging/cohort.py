"""A site's patients, ready for training: what is known of each, and their slices on demand."""

from collections.abc import Sequence
from dataclasses import dataclass

from common.errors import ConfigError
from common.imaging.cache import PreparedPatient
from common.imaging.patient import Quarantined
from common.imaging.remarks import OpenQuestion, Tally
from common.imaging.slices import Slices


@dataclass(frozen=True)
class PreparedCohort:
    """Every usable patient of one data set.

    Attributes:
        organ: one of ``ORGANS``.
        contrasts: the channels of every slice, in order.
        patients: sorted by name; each has at least one slice.
        quarantine: studies that were left out, with reasons.
        patients_known: False if the data set names no patients at all: each image then counts as one, a split is by
            image, and two images of one person may lie on both sides of it. Whoever shows figures must say so.
        unnamed: how many of the patients stand for a single study, because its header names no patient; two of them may
            be one person. Above 0, "patient" is no unit of privacy.
        min_tumour_pixels: from how many lesion pixels on a slice counts as one with a tumour.
        remarks: what was not taken up, or was read on a guess.
        questions: what the hospital has to say before the studies concerned, which are in ``quarantine``, can be used.
    """

    organ: str
    contrasts: tuple[str, ...]
    patients: tuple[PreparedPatient, ...]
    quarantine: tuple[Quarantined, ...]
    patients_known: bool = True
    unnamed: int = 0
    min_tumour_pixels: int = 1
    remarks: tuple[Tally, ...] = ()
    questions: tuple[OpenQuestion, ...] = ()

    @property
    def modality(self) -> str:
        """``"CT"`` or ``"MR"``, as DICOM writes it."""
        return "CT" if self.contrasts == ("ct",) else "MR"

    @property
    def has_masks(self) -> bool:
        """Whether tumours are outlined or stated; if not, nothing that needs to know them can be done here."""
        return any(patient.has_masks for patient in self.patients)

    @property
    def tumour_by_patient(self) -> list[tuple[str, bool]]:
        """(name, has a tumour) of every patient: what a split is made from."""
        return [(patient.patient, patient.has_tumour) for patient in self.patients]

    def slices(self, names: Sequence[str]) -> Slices:
        """The slices of some patients in the order named, read by memory map.

        Raises:
            ConfigError: if a name is not one of ``patients``.
        """
        by_name = {patient.patient: patient for patient in self.patients}
        unknown = [name for name in names if name not in by_name]
        if unknown:
            raise ConfigError(f"{len(unknown)} of {len(names)} patients are not in this cohort, e.g. {unknown[0]!r}")
        opened = [by_name[name].open() for name in names]
        return Slices(self.organ, self.contrasts, opened, self.min_tumour_pixels)
