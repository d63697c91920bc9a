"""Resampling: another spacing of voxels, images and masks alike."""

from dataclasses import replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import SimpleITK

from common.errors import BadStudyError
from common.imaging.steps.study import Spacing, Study

Scalar = TypeVar("Scalar", bound=np.generic)
_MOST_VOXELS = 512 * 512 * 1024


def resample(study: Study, spacing: list[float]) -> Study:
    """A study at other millimetres along (z, y, x); 0 keeps an axis.

    The first voxel stays where it is. Images are interpolated linearly, and nothing is smoothed before. Masks take
    the nearest voxel: a label never becomes another one, but one thinner than the new spacing may be missed.

    Raises:
        BadStudyError: if the new volume would be too large to hold.
    """
    old, shape = study.spacing, study.inside.shape
    new: Spacing = tuple(wanted or kept for wanted, kept in zip(spacing, old, strict=True))  # type: ignore[assignment]
    # The last new voxel lies within the old volume, up to half an old voxel.
    counts = tuple(int((n - 1) * a / b + 0.5 * min(1.0, a / b)) + 1 for n, a, b in zip(shape, old, new, strict=True))
    if np.prod([float(n) for n in counts]) > _MOST_VOXELS:
        raise BadStudyError(f"at {' x '.join(f'{step:g}' for step in new)} mm the volume would be too large")
    nearest = np.minimum(np.rint(np.arange(counts[0]) * new[0] / old[0]).astype(np.intp), shape[0] - 1)
    images = np.empty((len(study.images), *counts), np.float32)
    for index, channel in enumerate(study.images):
        images[index] = to_grid(channel, old, new, counts, SimpleITK.sitkLinear)
    return replace(
        study,
        images=images,
        inside=_nearest(study.inside, old, new, counts) > 0,
        labels=_nearest(study.labels, old, new, counts),
        organ=None if study.organ is None else _nearest(study.organ, old, new, counts),
        stated=None if study.stated is None else study.stated[nearest],
        height=study.height[0] + np.arange(counts[0]) * new[0],
        spacing=new,
    )


def to_grid(
    volume: npt.NDArray[Scalar], old: Spacing, new: Spacing, counts: tuple[int, ...], interpolator: int
) -> npt.NDArray[Scalar]:
    """(Z, Y, X) values at ``counts`` voxels ``new`` millimetres apart; the edge's value goes on beyond the edge."""
    image = SimpleITK.GetImageFromArray(volume)
    image.SetSpacing(old[::-1])
    filter_ = SimpleITK.ResampleImageFilter()
    filter_.SetSize([int(n) for n in counts[::-1]])
    filter_.SetOutputSpacing(new[::-1])
    filter_.SetInterpolator(interpolator)
    filter_.UseNearestNeighborExtrapolatorOn()
    return np.asarray(SimpleITK.GetArrayFromImage(filter_.Execute(image)), dtype=volume.dtype)


def _nearest(
    mask: npt.NDArray[np.generic], old: Spacing, new: Spacing, counts: tuple[int, ...]
) -> npt.NDArray[np.uint8]:
    return to_grid(np.asarray(mask, dtype=np.uint8), old, new, counts, SimpleITK.sitkNearestNeighbor)
