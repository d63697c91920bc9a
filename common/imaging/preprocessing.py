"""From a patient as stored to slices in [0, 1]: small pure steps, each per patient, none fitted on a site.

The order matters. The foreground is found and cropped **before** z-scoring: afterwards half of the brain lies below
zero, and a crop that keeps what is above zero cuts it away.
"""

from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt
import SimpleITK
import torch
import torch.nn.functional as F
from scipy import ndimage

from common.config import ImageConfig, PreprocessingConfig
from common.errors import BadStudyError, ConfigError
from common.imaging.patient import Patient
from common.imaging.slices import PatientSlices

Volume = npt.NDArray[np.float32]
Scalar = TypeVar("Scalar", bound=np.generic)
Mask = npt.NDArray[np.bool_]
Box = tuple[slice, slice, slice]

BODY_HU = -500.0
"""Between air (-1000) and fat (-100): above it is body."""

_IN_PLANE = ndimage.generate_binary_structure(3, 1) & np.array([False, True, False])[:, None, None]


def preprocess(patient: Patient, image: ImageConfig, steps: PreprocessingConfig) -> PatientSlices:
    """All steps in order; the slices that show enough of the patient, inferior to superior.

    MRI: foreground, crop, bias field (if switched on), z-score, window, square. CT: foreground, crop, window in HU,
    square. Labels outside the foreground are dropped.

    Raises:
        BadStudyError: if nothing can be seen, no slice shows enough, the mask lies outside the patient, or there is
            neither a mask nor a stated class.
        ConfigError: if the window is not two ascending numbers.
    """
    if patient.labels is None and patient.tumour_slices is None:
        raise BadStudyError("there is no tumour mask, so it cannot be trained on")
    inside = ct_foreground(patient.images) if patient.modality == "CT" else mri_foreground(patient.images)
    labels = np.zeros(inside.shape, np.uint8) if patient.labels is None else labels_inside(patient.labels, inside)
    box = bounding_box(inside)
    inside, labels = inside[box], labels[box]
    images = patient.images[(slice(None), *box)]
    kept = np.flatnonzero(foreground_share(inside) >= image.min_foreground)
    if len(kept) == 0:
        raise BadStudyError(f"no slice shows {image.min_foreground:.0%} foreground")
    spacing = patient.spacing[1:]
    outline = fit_to_square(inside[kept], image.size, spacing, "nearest")
    slices = np.empty((len(kept), len(images), image.size, image.size), np.float16)
    for index, channel in enumerate(images):
        if patient.modality == "MR":
            channel = correct_bias_field(channel, inside) if steps.bias_field else channel
            channel = z_score(channel, inside)
        seen = window(channel[kept], steps.window) * inside[kept]
        square = fit_to_square(seen, image.size, spacing, "area") * outline
        slices[:, index] = torch.from_numpy(square).half().numpy()  # Several times as fast as numpy's own cast.
    stated = patient.tumour_slices
    return PatientSlices(
        patient=patient.patient,
        images=slices,
        labels=fit_to_square(labels[kept], image.size, spacing, "nearest") * outline,
        foreground=outline.astype(np.uint8),
        tumour_slices=None if stated is None else stated[box[0]][kept],
    )


def mri_foreground(images: Volume) -> Mask:
    """(Z, Y, X) True inside the head, or inside the brain of a skull-stripped study; from images (C, Z, Y, X).

    Inside is what stands out from the background in at least one contrast, by more than 2% of the bright tissue, with
    the holes of every slice filled and specks left out. The background is the median of the slices' edges. Values
    below it count only where they are many (a study stored as z-scores): the few that real studies have outside the
    brain are ringing from resampling.

    Raises:
        BadStudyError: if no voxel stands out.
    """
    inside = np.zeros(images.shape[1:], bool)
    for channel in images:
        background = np.median(_edges(channel))
        sample = np.abs(channel[:, ::3, ::3] - background)
        bright = np.percentile(sample[sample > 0], 99) if sample.any() else 0.0
        above = channel > background + 0.02 * bright
        below = channel < background - 0.02 * bright
        inside |= above | below if below.sum() > 0.1 * above.sum() else above
    return solid(inside)


def ct_foreground(images: Volume) -> Mask:
    """(Z, Y, X) True inside the body (lungs and bowel gas included); from images (1, Z, Y, X) in HU.

    Images that were stored with a narrow window have no air: there the body is what stands out from the background.

    Raises:
        BadStudyError: if nothing is denser than air.
    """
    if images.min() > BODY_HU:
        return mri_foreground(images)
    return solid(images[0] > BODY_HU)


def solid(mask: Mask) -> Mask:
    """The large connected parts of a (Z, Y, X) mask, with the holes of each slice filled.

    A part is large if it has a tenth of the voxels of the largest: slices of a slab may cut a brain in two.

    Raises:
        BadStudyError: if the mask is empty.
    """
    box = bounding_box(mask)
    parts, _ = ndimage.label(mask[box])
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    large = (sizes >= 0.1 * sizes.max()) & (sizes > 0)
    gaps, _ = ndimage.label(np.pad(~large[parts], ((0, 0), (1, 1), (1, 1)), constant_values=True), _IN_PLANE)
    outside = np.unique(_edges(gaps))
    filled = np.zeros_like(mask)
    filled[box] = ~np.isin(gaps, outside)[:, 1:-1, 1:-1]
    return filled


def labels_inside(labels: npt.NDArray[np.uint8], inside: Mask) -> npt.NDArray[np.uint8]:
    """Labels with those outside the foreground set to 0.

    Raises:
        BadStudyError: if more than half of the lesion lies outside: the mask belongs to another image.
    """
    lesion = np.count_nonzero(labels)
    kept = np.asarray(labels * inside, dtype=np.uint8)
    if np.count_nonzero(kept) < 0.5 * lesion:
        raise BadStudyError("the mask lies outside the foreground of the image")
    return kept


def bounding_box(mask: Mask) -> Box:
    """The smallest box around a (Z, Y, X) mask.

    >>> mask = np.zeros((3, 9, 9), bool)
    >>> mask[1, 4:6, 2] = True
    >>> bounding_box(mask)
    (slice(1, 2, None), slice(4, 6, None), slice(2, 3, None))

    Raises:
        BadStudyError: if the mask is empty.
    """
    if not mask.any():
        raise BadStudyError("nothing stands out from the background")
    hits = [np.flatnonzero(mask.any(axis=other)) for other in ((1, 2), (0, 2), (0, 1))]
    z, y, x = (slice(int(hit[0]), int(hit[-1]) + 1) for hit in hits)
    return z, y, x


def foreground_share(inside: Mask) -> npt.NDArray[np.float64]:
    """(Z,) share of foreground pixels in each slice of a cropped (Z, Y, X) mask."""
    return np.asarray(inside.mean(axis=(1, 2), dtype=np.float64))


def correct_bias_field(channel: Volume, inside: Mask, *, shrink: int = 4, iterations: int = 50) -> Volume:
    """One (Z, Y, X) volume with the scanner's smooth shading divided out, by N4 inside the foreground.

    The field is fitted on a volume shrunk ``shrink`` times along every axis that is long enough, with ``iterations``
    at each of four levels, and applied at full resolution. Outside the foreground values stay as they are. A single
    slice gets a field of its plane.

    Raises:
        BadStudyError: if no field can be fitted.

    Source: Tustison et al. 2010, N4ITK: improved N3 bias correction.
    """
    flat = len(channel) == 1
    positive = np.where(inside, np.maximum(channel, 1e-3 * float(channel[inside].max(initial=0.0))), 0)
    full = SimpleITK.GetImageFromArray((positive[0] if flat else positive).astype(np.float32))
    mask = SimpleITK.GetImageFromArray((inside[0] if flat else inside).astype(np.uint8))
    factors = [min(shrink, max(1, size // 4)) for size in full.GetSize()]
    n4 = SimpleITK.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations([iterations] * 4)
    try:
        n4.Execute(SimpleITK.Shrink(full, factors), SimpleITK.Shrink(mask, factors))
    except RuntimeError as error:
        raise BadStudyError("no bias field can be fitted to the image") from error
    field = np.exp(SimpleITK.GetArrayFromImage(n4.GetLogBiasFieldAsImage(full)))
    return np.asarray(np.where(inside, channel / field, channel), dtype=np.float32)


def z_score(channel: Volume, inside: Mask) -> Volume:
    """One volume with mean 0 and standard deviation 1 inside the foreground.

    >>> z_score(np.array([1.0, 3.0, 9.0], np.float32), np.array([True, True, False])).tolist()
    [-1.0, 1.0, 7.0]

    Raises:
        BadStudyError: if the foreground is constant.
    """
    values = channel[inside]
    mean, deviation = values.mean(dtype=np.float64), values.std(dtype=np.float64)
    if deviation < 1e-6 * max(abs(mean), 1e-6):
        raise BadStudyError("the image has the same value all over the foreground")
    scored = channel - np.float32(mean)
    scored /= np.float32(deviation)
    return scored


def window(values: Volume, limits: list[float]) -> Volume:
    """Values with ``limits`` mapped to 0 and 1, and clipped there.

    >>> window(np.array([-200.0, 75.0, 300.0], np.float32), [-100, 250]).tolist()
    [0.0, 0.5, 1.0]

    Raises:
        ConfigError: if ``limits`` are not two ascending numbers.
    """
    if len(limits) != 2 or not limits[0] < limits[1]:
        raise ConfigError(f"preprocessing window {limits}: give two ascending numbers")
    low, high = np.float32(limits[0]), np.float32(limits[1])
    scaled = values - low
    scaled /= high - low
    return scaled.clip(0, 1, out=scaled)


def fit_to_square(
    slices: npt.NDArray[Scalar], size: int, spacing: tuple[float, float], mode: Literal["area", "nearest"]
) -> npt.NDArray[Scalar]:
    """(..., H, W) scaled to fit (..., size, size), centred, the rest 0; one pixel is equally long in y and x.

    Args:
        spacing: millimetres along (y, x) before.
        mode: ``area`` for images (linear, with the antialiasing that shrinking needs), ``nearest`` for masks. Both put
            pixel centres at the same place.
    """
    height, width = slices.shape[-2:]
    long_side = max(height * spacing[0], width * spacing[1])
    shape = tuple(max(1, round(n * step / long_side * size)) for n, step in zip((height, width), spacing, strict=True))
    stack = torch.from_numpy(np.ascontiguousarray(slices)).reshape(-1, 1, height, width)
    if mode == "area":
        scaled = F.interpolate(stack.float(), shape, mode="bilinear", antialias=True, align_corners=False)
    else:
        scaled = F.interpolate(stack.to(torch.uint8), shape, mode="nearest-exact")
    top, left = ((size - n) // 2 for n in shape)
    square = F.pad(scaled, (left, size - shape[1] - left, top, size - shape[0] - top))
    return square.numpy().reshape(*slices.shape[:-2], size, size).astype(slices.dtype, copy=False)


def _edges(volume: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
    """The outermost in-plane voxels of a (Z, Y, X) volume."""
    sides = (volume[:, 0], volume[:, -1], volume[:, :, 0], volume[:, :, -1])
    return np.concatenate([side.ravel() for side in sides])
