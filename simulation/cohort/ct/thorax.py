"""From one real CT angiography of the chest to a template: what it shows, without contrast medium and apart from it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from scipy.ndimage import (
    binary_closing,
    binary_dilation,
    binary_erosion,
    binary_fill_holes,
    binary_opening,
    distance_transform_edt,
    gaussian_filter,
    label,
)
from skimage.morphology import convex_hull_image

Mask = npt.NDArray[np.bool_]
Volume = npt.NDArray[np.float32]

FILES = {
    "tests/reference_files/aorta_report/example_ct.nii.gz": "thorax.nii.gz",
    "tests/reference_files/aorta_report/test_result/models/aorta.nii.gz": "aorta.nii.gz",
    "tests/reference_files/pulmonary_report/models/heart.nii.gz": "heart.nii.gz",
    "tests/reference_files/pulmonary_report/models/pulmonary_artery.nii.gz": "pulmonary_artery.nii.gz",
}
"""In TotalSegmentator's source package, and how they are called here."""

SPACING = 1.5
"""mm, along every axis of the template."""

KEPT = (38, 152)
"""Slices of the scan that hold lung; above them lie the arms with undiluted contrast medium and its streaks."""

BLOOD = 42.0
"""HU of blood without contrast medium."""

LARGEST_ENHANCEMENT = 320.0
"""HU; undiluted contrast medium is brighter."""

_REMNANT = 22.0
"""HU by which muscle and blood of the heart differ without contrast medium, at most."""

_SPINE_SIDES = (92, 144)
_SPINE_FRONT = ((38, 104), (120, 103), (135, 99), (152, 93))
"""Columns between which the spine lies, and (slice, row) of its front: places in the one scan there is."""


def prepare_thorax(folder: Path) -> dict[str, npt.NDArray[Any]]:
    """The template from the files of ``FILES`` in ``folder``.

    Returns:
        All (Z, Y, X) at ``SPACING`` mm, z to superior, y to posterior, x to the patient's left:
        ``native`` int16 HU with the contrast medium taken out, ``enhancement`` int16 HU that it added, ``lung`` int8
        distance in units of 0.5 mm to the border of the lungs (positive inside, vessels and nodules' room included,
        airways left out).
    """
    ct, affine = _load(folder / "thorax.nii.gz")
    image = ct.astype(np.float32)
    vessels, aorta = np.zeros(image.shape, bool), np.zeros(image.shape, bool)
    for name in ("aorta", "heart", "pulmonary_artery"):
        part, own = _load(folder / f"{name}.nii.gz")
        start = np.rint((own[:3, 3] - affine[:3, 3]) / np.diag(affine)[:3]).astype(int)[::-1]
        box = tuple(slice(s, s + n) for s, n in zip(start, part.shape, strict=True))
        vessels[box] |= part > 0
        if name == "aorta":
            aorta[box] = part > 0
    kept = slice(*KEPT)
    image, vessels, aorta = image[kept], vessels[kept], aorta[kept]
    body = body_mask(image)
    image = _quiet(np.where(body, image, -1000).astype(np.float32))
    air = _air_in_body(image, body)
    pool = _blood_pool(image, air, vessels)
    excess = np.clip(image - BLOOD, 0, None) * pool
    native = image - excess + _REMNANT * np.tanh(excess / 300)
    # The person's aorta is dissected: contrast medium fills a part of it. A healthy one is filled evenly.
    filled = gaussian_filter(binary_erosion(aorta).astype(np.float32), 0.8) * LARGEST_ENHANCEMENT
    enhancement = np.maximum(np.clip(excess, 0, LARGEST_ENHANCEMENT), filled)
    lung = _lungs(image, air)
    return {
        "native": np.rint(native).astype(np.int16),
        "enhancement": np.rint(enhancement).astype(np.int16),
        "lung": np.clip(np.rint(signed_depth(lung, (SPACING,) * 3) * 2), -127, 127).astype(np.int8),
    }


def body_mask(image: Volume) -> Mask:
    """(Z, Y, X) the trunk with all it holds; table, wires and arms beside it are left out."""
    dense = binary_opening(image > -300, iterations=2)
    trunk = largest(dense)
    margin = 8
    filled = np.zeros(image.shape, bool)
    for z, plane in enumerate(trunk):
        wide = binary_closing(np.pad(plane, margin), iterations=4)
        filled[z] = binary_fill_holes(wide)[margin:-margin, margin:-margin]
    return np.asarray(binary_dilation(filled), bool)


def largest(mask: Mask) -> Mask:
    """The largest connected part of ``mask``."""
    parts, _ = label(mask)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    result: Mask = parts == sizes.argmax()
    return result


def signed_depth(mask: Mask, spacing: Sequence[float]) -> Volume:
    """mm to the border of ``mask``, positive inside."""
    inside = distance_transform_edt(mask, sampling=spacing)
    outside = distance_transform_edt(~mask, sampling=spacing)
    return np.asarray(inside - outside, np.float32)


def _load(path: Path) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64]]:
    """(Z, Y, X) as stored; all files of this scan have axes to the left, to posterior and to superior."""
    image: Any = nib.load(path)
    if nib.aff2axcodes(image.affine) != ("L", "P", "S"):
        raise ValueError(f"{path.name}: unexpected orientation")
    return np.asarray(image.dataobj).T, np.asarray(image.affine)


def _quiet(image: Volume) -> Volume:
    """The scan with less of its own noise: what differs little from its surroundings is drawn towards them.

    The demo's scanners add their own noise.
    """
    smooth = gaussian_filter(image, (0.7, 0.9, 0.9))
    weight = np.exp(-(((image - smooth) / 70) ** 2))
    return np.asarray(image + weight * (smooth - image), np.float32)


def _air_in_body(image: Volume, body: Mask) -> Mask:
    """Lungs and airways, without their vessels."""
    return largest(binary_opening(binary_erosion(body, iterations=2) & (image < -400)))


def _lungs(image: Volume, air: Mask) -> Mask:
    """The two lungs with the vessels inside them, without trachea and large bronchi."""
    airway = binary_opening(image < -930, iterations=2) & air
    parts, count = label(airway)
    columns = np.broadcast_to(np.arange(image.shape[2]), image.shape[1:])
    # Airways run near the middle; emptier lung elsewhere stays.
    for part in range(1, count + 1):
        where = parts == part
        middle = columns[where.any(axis=0)].mean()
        if abs(middle - (_SPINE_SIDES[0] + _SPINE_SIDES[1]) / 2) > 22 or where.sum() < 60:
            airway[where] = False
    airway = binary_dilation(airway, iterations=3)
    lungs = air & ~airway
    filled = np.stack([binary_closing(np.pad(plane, 6), iterations=4)[6:-6, 6:-6] for plane in lungs])
    return np.asarray(binary_opening(filled & ~airway, iterations=2), bool)


def _blood_pool(image: Volume, air: Mask, vessels: Mask) -> Volume:
    """(Z, Y, X) float32 in [0, 1]: where contrast medium may be, in heart and vessels, with a soft border."""
    chest = np.stack(
        [binary_erosion(convex_hull_image(plane), iterations=3) if plane.any() else plane for plane in air]
    )
    slices, rows, columns = np.ogrid[: image.shape[0], : image.shape[1], : image.shape[2]]
    heights, fronts = zip(*_SPINE_FRONT, strict=True)
    front = np.interp(slices.ravel() + KEPT[0], heights, fronts)[:, None, None]
    spine = (rows > front) & (columns > _SPINE_SIDES[0]) & (columns < _SPINE_SIDES[1])
    near = binary_dilation(vessels, iterations=2)
    pool = near | (chest & ~spine & (gaussian_filter(image, 0.6) > 60))
    return np.asarray(gaussian_filter(binary_dilation(pool).astype(np.float32), 0.6), np.float32)
