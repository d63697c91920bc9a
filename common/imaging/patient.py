"""What every reader yields, whatever the format on disk: a typed patient."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from common.imaging.names import LESION_LABELS as LESION_LABELS
from common.imaging.remarks import Question, Remark


@dataclass(frozen=True)
class Lesion:
    """One lesion as its data set describes it, for tasks beside "is there a tumour".

    Attributes:
        centre: index along (z, y, x) of the patient's volume.
        volume_mm3: of its mask.
        readers: how many readers marked it; 1 where a data set has one reading only.
        malignancy: median rating, 1 (benign) to 5 (malignant); None where it was not rated.
    """

    centre: tuple[float, float, float]
    volume_mm3: float
    readers: int = 1
    malignancy: float | None = None

    @property
    def is_malignant(self) -> bool | None:
        """LIDC's usual reading of the median: above 3 malignant, below 3 benign, 3 undecided (None)."""
        if self.malignancy is None or self.malignancy == 3:
            return None
        return self.malignancy > 3


@dataclass(frozen=True)
class Patient:
    """One patient's study as a stack of axial slices.

    Attributes:
        patient: the site's own name for the patient; never leaves the site.
        organ: one of ``names.ORGANS``.
        contrasts: the channels of ``images`` in order, each one of ``names.CONTRASTS``.
        images: (C, Z, Y, X) float32, as stored (MRI: arbitrary units; CT: HU). Axes are LPS: z ascends to superior,
            y ascends to posterior, x ascends to the patient's left, so that a plain plot of a slice is radiological.
        labels: (Z, Y, X) uint8 with 0 and ``LESION_LABELS``; None where the study has no mask.
        spacing: millimetres along (z, y, x); 2D images without a scale have 1.0 and ``spacing_known`` False.
        source: the folder or file it was read from; never leaves the site.
        spacing_known: False where ``spacing`` is a stand-in.
        tumour_slices: (Z,) bool, the class that the data set states for each slice; None where ``labels`` say it all.
            A slice that is True here without a lesion label has a tumour whose mask is unknown.
        organ_mask: (Z, Y, X) uint8, 1 in the organ itself (its lesions included); None where the data set has none.
        lesions: what is known of single lesions; empty where the data set says nothing beyond the mask.
        identifying: header fields that may identify the person, by their DICOM keyword (never their values).
        remarks: what of the study was not taken up, or was read on a guess.
        questions: what has to be answered first, because the study would otherwise count as tumour-free and may not
            be; it is left out until then.
    """

    patient: str
    organ: str
    contrasts: tuple[str, ...]
    images: npt.NDArray[np.float32]
    labels: npt.NDArray[np.uint8] | None
    spacing: tuple[float, float, float]
    source: Path
    spacing_known: bool = True
    tumour_slices: npt.NDArray[np.bool_] | None = None
    organ_mask: npt.NDArray[np.uint8] | None = None
    lesions: tuple[Lesion, ...] = ()
    identifying: tuple[str, ...] = ()
    remarks: tuple[Remark, ...] = ()
    questions: tuple[Question, ...] = ()

    @property
    def modality(self) -> str:
        """``"CT"`` or ``"MR"``, as DICOM writes it."""
        return "CT" if self.contrasts == ("ct",) else "MR"

    @property
    def has_tumour(self) -> bool:
        """True if any lesion label is present, or the data set says so of any slice."""
        if self.tumour_slices is not None and self.tumour_slices.any():
            return True
        return self.labels is not None and bool(self.labels.any())


@dataclass(frozen=True)
class StudyLocation:
    """Where one study lies, found without reading pixels.

    Attributes:
        patient: the site's own name for the patient. Several studies of one patient have the same name: they are
            split, clustered and protected together.
        path: the folder or file.
        files: the files that belong to the study; empty means everything below ``path``.
        patient_known: False where the data set names no patients, so that each image stands for one.
        remarks: what is known of it beside the other studies of its folder; a reader hands them on, unless whoever
            prepares the whole folder has told them already.
    """

    patient: str
    path: Path
    files: tuple[Path, ...] = ()
    patient_known: bool = True
    remarks: tuple[Remark, ...] = ()


@dataclass(frozen=True)
class Quarantined:
    """A study that was left out, and why. The list stays at the site; only its length may be declared."""

    patient: str
    path: Path
    reason: str
