"""A set of slices to train or test on: gathered by index from per-patient arrays, which may be memory maps."""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from common.imaging.patient import LESION_LABELS
from common.imaging.remarks import Remark
from common.study.conditions import condition_code


@dataclass(frozen=True)
class PatientSlices:
    """One patient's preprocessed slices.

    Attributes:
        patient: the site's own name for the patient.
        images: (Z, C, H, W) float16 in [0, 1]; background exactly 0.
        labels: (Z, H, W) uint8 with 0 and ``LESION_LABELS``.
        foreground: (Z, H, W) uint8, 1 inside the head or body.
        organ: (Z, H, W) uint8, 1 where a tumour of this organ can lie; None where that is the whole foreground.
        tumour_slices: (Z,) bool, the class stated for each slice by a data set whose tumours may lack a mask; None
            where ``labels`` say it all.
        lesion_pixels: (Z,) int64, pixels with a lesion label; counted from ``labels`` if None.
        remarks: what of the study is not in the slices, as they were made; not kept with them.
    """

    patient: str
    images: npt.NDArray[np.float16]
    labels: npt.NDArray[np.uint8]
    foreground: npt.NDArray[np.uint8]
    organ: npt.NDArray[np.uint8] | None = None
    tumour_slices: npt.NDArray[np.bool_] | None = None
    lesion_pixels: npt.NDArray[np.int64] | None = None
    remarks: tuple[Remark, ...] = ()


@dataclass(frozen=True)
class SliceBatch:
    """Slices as tensors, in the order asked for.

    Attributes:
        images: (B, C, H, W) float32 in [0, 1].
        labels: (B, H, W) uint8 with 0 and ``LESION_LABELS``.
        foreground: (B, H, W) bool, the head or body.
        organ: (B, H, W) bool, where a tumour can lie.
        patients: (B,) int64, index into ``Slices.patients``.
    """

    images: Tensor
    labels: Tensor
    foreground: Tensor
    organ: Tensor
    patients: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def tumour_pixels(self) -> Tensor:
        """(B,) int64: pixels with a lesion label."""
        return lesion_mask(self.labels).flatten(1).sum(1)


def lesion_mask(labels: Tensor) -> Tensor:
    """True where a label counts as tumour; same shape as ``labels``.

    >>> lesion_mask(torch.tensor([0, 1, 2, 3, 4])).tolist()
    [False, True, True, False, True]
    """
    return torch.isin(labels, torch.tensor(LESION_LABELS, dtype=labels.dtype, device=labels.device))


@dataclass(frozen=True)
class Slices:
    """Slices of several patients of one site, all of one size, organ and list of contrasts.

    A slice is named by its position 0..len-1: patients in order, each patient's slices from inferior to superior.

    Attributes:
        min_tumour_pixels: from how many lesion pixels on a slice counts as one with a tumour.
    """

    organ: str
    contrasts: tuple[str, ...]
    patients: Sequence[PatientSlices]
    min_tumour_pixels: int = 1
    _owner: npt.NDArray[np.int64] = field(init=False, repr=False)
    _offset: npt.NDArray[np.int64] = field(init=False, repr=False)
    _tumour_pixels: npt.NDArray[np.int64] = field(init=False, repr=False)
    _stated_tumour: npt.NDArray[np.bool_] = field(init=False, repr=False)
    _drawn: Callable[[npt.NDArray[np.int64]], None] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        counts = [len(p.images) for p in self.patients]
        owner = np.repeat(np.arange(len(counts)), counts)
        offset = np.concatenate([np.arange(n) for n in counts]) if counts else np.zeros(0)
        pixels = [_lesion_pixels(p) for p in self.patients]
        stated = [np.zeros(len(p.images), bool) if p.tumour_slices is None else p.tumour_slices for p in self.patients]
        object.__setattr__(self, "_owner", owner.astype(np.int64))
        object.__setattr__(self, "_offset", offset.astype(np.int64))
        object.__setattr__(self, "_tumour_pixels", (np.concatenate(pixels) if pixels else np.zeros(0)).astype(np.int64))
        object.__setattr__(self, "_stated_tumour", np.concatenate(stated) if stated else np.zeros(0, bool))

    def __len__(self) -> int:
        return len(self._owner)

    @property
    def owner(self) -> npt.NDArray[np.int64]:
        """(N,) index of the patient of each slice."""
        return self._owner

    @property
    def tumour_pixels(self) -> npt.NDArray[np.int64]:
        """(N,) lesion pixels of each slice."""
        return self._tumour_pixels

    def tumour_positions(self) -> npt.NDArray[np.int64]:
        """Slices with at least ``min_tumour_pixels`` lesion pixels: tumours whose mask is known."""
        return np.flatnonzero(self._tumour_pixels >= max(1, self.min_tumour_pixels))

    def healthy_positions(self) -> npt.NDArray[np.int64]:
        """Slices without a single lesion pixel that are not stated to hold a tumour either."""
        return np.flatnonzero((self._tumour_pixels == 0) & ~self._stated_tumour)

    def tumour_class(self) -> npt.NDArray[np.bool_]:
        """(N,) the classifier's label: at least ``min_tumour_pixels`` lesion pixels, or a stated tumour without a
        mask."""
        unmasked = self._stated_tumour & (self._tumour_pixels == 0)
        return np.asarray((self._tumour_pixels >= max(1, self.min_tumour_pixels)) | unmasked, dtype=np.bool_)

    def watched(self, drawn: Callable[[npt.NDArray[np.int64]], None]) -> "Slices":
        """The same slices; ``drawn`` is told the positions of every batch that is made of them."""
        other = copy(self)
        object.__setattr__(other, "_drawn", drawn)
        return other

    def in_contrasts(self, contrasts: Sequence[str]) -> "Slices":
        """The same slices with some of their contrasts, in the order named.

        Raises:
            ValueError: if they do not have one of them.
        """
        channels = [self.contrasts.index(contrast) for contrast in contrasts]
        patients = [replace(one, images=one.images[:, channels]) for one in self.patients]
        other = Slices(self.organ, tuple(contrasts), patients, self.min_tumour_pixels)
        return other.watched(self._drawn) if self._drawn is not None else other

    def same_slices_as(self, other: "Slices") -> bool:
        """Whether both show the same slices of the same patients of one organ, in whatever contrasts."""
        return self.organ == other.organ and [(p.patient, p.labels.shape) for p in self.patients] == [
            (p.patient, p.labels.shape) for p in other.patients
        ]

    def batch(self, positions: Sequence[int] | npt.NDArray[np.int64] | Tensor) -> SliceBatch:
        """The slices at ``positions`` (repeats allowed)."""
        index = np.asarray(positions, dtype=np.int64)
        if self._drawn is not None:
            self._drawn(index)
        pairs = list(zip(self._owner[index].tolist(), self._offset[index].tolist(), strict=True))
        images = np.stack([self.patients[p].images[z] for p, z in pairs]).astype(np.float32)
        labels = np.stack([self.patients[p].labels[z] for p, z in pairs])
        foreground = np.stack([self.patients[p].foreground[z] for p, z in pairs]) > 0
        organ = np.stack([_organ(self.patients[p])[z] for p, z in pairs]) > 0
        return SliceBatch(
            images=torch.from_numpy(images),
            labels=torch.from_numpy(np.ascontiguousarray(labels)),
            foreground=torch.from_numpy(foreground),
            organ=torch.from_numpy(organ),
            patients=torch.from_numpy(self._owner[index].copy()),
        )

    def all(self) -> SliceBatch:
        """Every slice; for sets that fit into memory."""
        return self.batch(np.arange(len(self)))

    def condition(self) -> Tensor:
        """(K,) the organ and contrast code of these slices."""
        return condition_code(self.organ, self.contrasts)


def _organ(patient: PatientSlices) -> npt.NDArray[np.uint8]:
    return patient.foreground if patient.organ is None else patient.organ


def _lesion_pixels(patient: PatientSlices) -> npt.NDArray[np.int64]:
    if patient.lesion_pixels is not None:
        return patient.lesion_pixels
    return np.asarray(np.isin(patient.labels, LESION_LABELS).sum(axis=(1, 2)), dtype=np.int64)
