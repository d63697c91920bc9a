"""Where the organ is: the lungs from Hounsfield units, the liver from its outline."""

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from scipy import ndimage

from common.errors import BadStudyError
from common.imaging.steps.foreground import IN_PLANE, bounding_box, large_parts
from common.imaging.steps.lung_sides import sides, with_lesions
from common.imaging.steps.study import Labels, Mask, Spacing, Volume

LUNG_HU = -400.0
"""Between lung (about -850) and soft tissue (about 40)."""
GAS_HU = -930.0
"""A part whose middle value is below is gas without tissue: windpipe, main bronchi, stomach, bowel."""
FOR_ALL_THAT_IS_THERE = "organs.{organ}.steps.crop=foreground takes studies without"
"""The option that helps where an organ is not known."""
_GRID_MM = 3.0
_CLOSING_MM = 9.0
_SMALLEST_SHARE = 0.01


def lungs(image: Volume, body: Mask, spacing: Spacing, lesions: Labels) -> Labels:
    """(Z, Y, X) uint8: ``RIGHT`` and ``LEFT`` in the lungs, with their vessels and nodules, without the windpipe.

    ``BOTH`` is a lesion that touches both lungs, and all of lungs that cannot be told apart.

    Found on a grid of about 3 mm: what is air inside the body, without parts that are pure gas, closed by 9 mm (so
    that nodules at the pleura and vessels at the hilum belong to it) and with the holes of every slice filled.

    Args:
        image: (Z, Y, X) HU; x ascends to the patient's left.
        body: (Z, Y, X) True inside the body, its air included.
        spacing: millimetres along (z, y, x).
        lesions: (Z, Y, X) labels of lesions, which belong to the lungs wherever they are.

    Raises:
        BadStudyError: if less than 1% of the body is lung.
    """
    steps = [max(1, min(round(_GRID_MM / mm), n)) for mm, n in zip(spacing, body.shape, strict=True)]
    grid = tuple(mm * step for mm, step in zip(spacing, steps, strict=True))
    coarse = F.avg_pool3d(torch.from_numpy(image)[None, None], steps, ceil_mode=True)[0, 0].numpy()
    inside = body[tuple(slice(None, None, step) for step in steps)]
    # Blur makes the skin look like lung.
    below_skin = ndimage.binary_erosion(inside, IN_PLANE, iterations=2, border_value=1)
    found = large_parts(_without_gas((coarse < LUNG_HU) & below_skin, coarse))
    if found.sum() < _SMALLEST_SHARE * max(1, inside.sum()):
        raise BadStudyError(f"no lungs can be seen in the image; {FOR_ALL_THAT_IS_THERE.format(organ='lung')}")
    box = bounding_box(found)
    found[box] = _filled(_closed(found[box], grid)) & inside[box]
    which = sides(found, grid)
    smooth = F.interpolate(torch.from_numpy(found)[None, None].float(), scale_factor=steps, mode="trilinear")[0, 0]
    lung = smooth.numpy()[tuple(slice(n) for n in body.shape)] > 0.5
    for axis, step in enumerate(steps):
        which = which.repeat(step, axis=axis)
    organ = np.asarray(which[tuple(slice(n) for n in body.shape)] * (lung & body), dtype=np.uint8)
    return with_lesions(organ, lesions, spacing)


def _without_gas(air: Mask, image: Volume) -> Mask:
    """Drops the parts of each slice whose median is that of gas: at least half of their voxels are below ``GAS_HU``."""
    parts, _ = ndimage.label(air, IN_PLANE)
    labels = parts.ravel()
    tissue = 2 * np.bincount(labels, weights=(image < GAS_HU).ravel()) < np.bincount(labels)
    tissue[0] = False
    return np.asarray(tissue[parts])


def _closed(mask: Mask, spacing: Spacing) -> Mask:
    """Closing by a ball of ``_CLOSING_MM``, in the plane only if there is a single slice."""
    reach = [0 if n == 1 else int(np.ceil(_CLOSING_MM / mm)) + 1 for n, mm in zip(mask.shape, spacing, strict=True)]
    padded = np.pad(mask, [(n, n) for n in reach])
    grown = ndimage.distance_transform_edt(~padded, spacing) <= _CLOSING_MM
    kept = ndimage.distance_transform_edt(grown, spacing) > _CLOSING_MM
    inner = tuple(slice(n, n + size) for n, size in zip(reach, mask.shape, strict=True))
    return np.asarray((kept | padded)[inner])


def _filled(mask: Mask) -> Mask:
    return np.stack([ndimage.binary_fill_holes(plane) for plane in mask])


def whole(outline: npt.NDArray[np.uint8], lesions: Labels, inside: Mask) -> Labels:
    """(Z, Y, X) an organ's outline with the lesions in it, which some outlines leave out, inside the body."""
    return np.asarray(((outline > 0) | (lesions > 0)) & inside, dtype=np.uint8)
