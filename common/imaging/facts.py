"""What is known of one study beside its slices: kept in the cache's index, told by the doctor, never sent."""

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from isal import isal_zlib

from common.imaging.patient import Lesion, Patient
from common.imaging.remarks import Question, Remark

PERCENTILES = (0, 1, 25, 50, 75, 99, 100)
_MOST_VOXELS = 200_000
"""Percentiles of so many voxels, evenly taken, are those of the volume to well below a per cent."""


@dataclass(frozen=True)
class StudyFacts:
    """One study as it was read.

    Attributes:
        path: its folder or file.
        modality: ``"CT"`` or ``"MR"``.
        shape: voxels along (z, y, x).
        spacing: millimetres along (z, y, x).
        spacing_known: False where ``spacing`` is a stand-in.
        intensities: contrast -> the values at ``PERCENTILES``, as stored (CT: HU).
        has_mask: whether its tumours are outlined, or it is known to have none.
        tumour_slices: slices with a lesion, or stated to show one.
        lesion_mm3: volume of all lesions.
        lesions: what is known of single ones.
        identifying: header fields that may identify the person, by keyword.
        remarks, questions: as :class:`common.imaging.patient.Patient` has them.
        digest: of every voxel and of the shape; equal for two copies of one study, whatever their names. It tells
            studies apart, and is no protection against somebody who makes two that agree.
    """

    path: Path
    modality: str
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    spacing_known: bool
    intensities: dict[str, tuple[float, ...]]
    has_mask: bool
    tumour_slices: int
    lesion_mm3: float
    lesions: tuple[Lesion, ...]
    identifying: tuple[str, ...]
    remarks: tuple[Remark, ...]
    questions: tuple[Question, ...]
    digest: str

    @property
    def usable(self) -> bool:
        """False where it is left out for what its headers hold, or for a question that nobody has answered."""
        return not self.identifying and not self.questions

    @staticmethod
    def of(patient: Patient) -> "StudyFacts":
        """The facts of a patient as a reader gave it."""
        z, y, x = patient.images.shape[1:]
        lesion = None if patient.labels is None else patient.labels != 0
        slices = np.zeros(z, bool) if lesion is None else lesion.any(axis=(1, 2))
        if patient.tumour_slices is not None:
            slices = slices | patient.tumour_slices
        step = max(1, patient.images[0].size // _MOST_VOXELS)
        return StudyFacts(
            path=patient.source,
            modality=patient.modality,
            shape=(z, y, x),
            spacing=patient.spacing,
            spacing_known=patient.spacing_known,
            intensities={
                contrast: tuple(np.percentile(channel.ravel()[::step], PERCENTILES).round(3).tolist())
                for contrast, channel in zip(patient.contrasts, patient.images, strict=True)
            },
            has_mask=patient.labels is not None,
            tumour_slices=int(slices.sum()),
            lesion_mm3=0.0 if lesion is None else float(np.count_nonzero(lesion) * np.prod(patient.spacing)),
            lesions=patient.lesions,
            identifying=patient.identifying,
            remarks=patient.remarks,
            questions=patient.questions,
            digest=_digest(patient.images),
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values that :meth:`from_json` reads back."""
        return {**asdict(self), "path": str(self.path)}

    @staticmethod
    def from_json(values: dict[str, Any]) -> "StudyFacts":
        """The facts in an index.

        Raises:
            KeyError, TypeError, ValueError: if it is not one.
        """
        z, y, x = values["shape"]
        dz, dy, dx = values["spacing"]
        return StudyFacts(
            **{
                **values,
                "path": Path(values["path"]),
                "shape": (z, y, x),
                "spacing": (dz, dy, dx),
                "intensities": {name: tuple(some) for name, some in values["intensities"].items()},
                "lesions": tuple(Lesion(**{**some, "centre": tuple(some["centre"])}) for some in values["lesions"]),
                "identifying": tuple(values["identifying"]),
                "remarks": tuple(Remark(**one) for one in values["remarks"]),
                "questions": tuple(Question(one["about"], tuple(one["options"])) for one in values["questions"]),
            }
        )


def _digest(images: npt.NDArray[np.float32]) -> str:
    """32 hexadecimal digits, from the checksum of each slice: twenty times as fast as a hash of all voxels.

    A CRC-32 always tells slices that differ in one voxel, and any others but for one pair in four billion.
    """
    checksums = [isal_zlib.crc32(np.ascontiguousarray(plane).data) for channel in images for plane in channel]
    return hashlib.sha256(f"{images.shape} {checksums}".encode()).hexdigest()[:32]
