"""Synthetic images that belong to nobody, each beside the real image that it resembles most.

A generator without a paired target has no image that it should have made. Similarity to the nearest real one says
whether what it made could be a real slice; it is named so (``nearest_ssim``), and stands beside the same figure of real
images, each against the other patients' ones. Higher than theirs is not better: a generator of smooth, average images
is nearer to its nearest neighbour than one real patient is to another. That an image is no copy of a *training* image
is another question, which only the site that holds those can answer.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from common.metrics.distances import squared_distances
from common.metrics.similarity import psnr, ssim_by_region

CHUNK = 256
"""Images a side whose distances are taken at once: 2 x 134 MB at 256 x 256 pixels."""


@dataclass(frozen=True)
class Nearest:
    """For each of N images, the nearest reference image, and how like it is.

    Attributes:
        index: (N,) int64, position of the nearest reference image.
        ssim, psnr: (N,) float64, against that image; PSNR in dB.
        foreground_ssim, foreground_psnr: (N,) float64, on that image's foreground alone; None if none was given, NaN
            where it is empty.
    """

    index: Tensor
    ssim: Tensor
    psnr: Tensor
    foreground_ssim: Tensor | None = None
    foreground_psnr: Tensor | None = None


def nearest(
    images: Tensor,
    references: Tensor,
    *,
    foreground: Tensor | None = None,
    patients: npt.NDArray[np.int64] | None = None,
    reference_patients: npt.NDArray[np.int64] | None = None,
) -> Nearest:
    """Each image beside its nearest reference image: the one with the smallest mean squared difference of pixels.

    All pairs are searched, exactly. The PSNR is therefore the highest that any reference image gives; the SSIM is
    that of the same image, and another might give a higher one. Of equally near images the first is taken.

    Args:
        images: (N, C, H, W) in [0, 1], H and W at least 11.
        references: (M, C, H, W) in [0, 1].
        foreground: (M, H, W) bool of the references, for the figures without the black background.
        patients, reference_patients: (N,) and (M,) whose image each is; a patient's own images are then left out.

    Raises:
        ValueError: if shapes do not fit, a value is not finite, or an image has no reference of another patient.
    """
    if images.ndim != 4 or images.shape[1:] != references.shape[1:]:
        raise ValueError(f"expected images of one shape, got {tuple(images.shape)} and {tuple(references.shape)}")
    if (patients is None) != (reference_patients is None):
        raise ValueError("other patients' images can be told only if the patients of both sides are given")
    index = nearest_positions(images.flatten(1), references.flatten(1), patients, reference_patients)
    found = references[index]
    if foreground is None:
        (whole,) = ssim_by_region(images, found, [None])
        return Nearest(index, whole, psnr(images, found))
    inside = foreground[index]
    whole, within = ssim_by_region(images, found, [None, inside])
    return Nearest(index, whole, psnr(images, found), within, psnr(images, found, inside))


def nearest_positions(
    rows: Tensor,
    references: Tensor,
    patients: npt.NDArray[np.int64] | None = None,
    reference_patients: npt.NDArray[np.int64] | None = None,
) -> Tensor:
    """(N,) int64: for each row (N, D) the position of the nearest of ``references`` (M, D), of another patient if
    patients are given.

    >>> nearest_positions(torch.tensor([[0.0], [5.0]]), torch.tensor([[1.0], [4.0], [9.0]])).tolist()
    [0, 1]

    Raises:
        ValueError: as :func:`nearest`.
    """
    if patients is not None and reference_patients is not None:
        if (len(patients), len(reference_patients)) != (len(rows), len(references)):
            raise ValueError(
                f"{len(patients)} and {len(reference_patients)} patients for {len(rows)} and {len(references)} images"
            )
        same = torch.from_numpy(np.asarray(patients)[:, None] == np.asarray(reference_patients))
        if same.all(1).any():
            raise ValueError("an image has no reference image of another patient")
    else:
        same = None
    found = []
    for start in range(0, len(rows), CHUNK):
        chunk = rows[start : start + CHUNK]
        squared = torch.cat([squared_distances(chunk, part) for part in torch.split(references, CHUNK)], dim=1)
        if same is not None:
            squared = squared.masked_fill(same[start : start + CHUNK], torch.inf)
        found.append(squared.argmin(1))
    return torch.cat(found) if found else torch.zeros(0, dtype=torch.int64)
