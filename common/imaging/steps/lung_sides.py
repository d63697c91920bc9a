"""Which lung is which: the right one and the left one told apart by their own shapes, and the lesions of each."""

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from common.imaging.steps.foreground import bounding_box
from common.imaging.steps.study import Labels, Mask, Spacing

RIGHT, LEFT, BOTH = 1, 2, 3
"""Values of a mask of the lungs; any other organ is 1. What touches both lungs, as a lesion between them may, is
``BOTH``, and so is all of two lungs that cannot be told apart."""

_LARGE = 0.1
"""Of all that is lung: a part with less is no lung of its own."""
_DEEPEST_MM = 18.0
"""A bridge between two lungs is thinner than twice this."""
_DIP = 0.35
"""Between two lungs is so much less lung than in the narrower one; one lung alone has no such waist."""
_TOUCHES_MM = 3.0


def sides(lungs: Mask, spacing: Spacing) -> Labels:
    """(Z, Y, X) ``RIGHT`` or ``LEFT`` everywhere, by the nearest lung; ``BOTH`` everywhere if there is one lung, or
    if nothing thin lies between two.

    Lungs that touch, as they do in front of the heart, are cut where the bridge between them is thinnest: what is left
    of both after a layer has been taken off, as thin as will part them, says for every voxel which it belongs to.

    Args:
        lungs: True in both lungs; x ascends to the patient's left.
        spacing: millimetres along (z, y, x).
    """
    middle = _midline(lungs)
    if middle is None:
        return np.full(lungs.shape, BOTH, np.uint8)
    depth = ndimage.distance_transform_edt(np.pad(lungs, 1), spacing)[1:-1, 1:-1, 1:-1]
    for layer in np.arange(0, _DEEPEST_MM, min(spacing)):
        cores = np.zeros(lungs.shape, np.uint8)
        parts, count = ndimage.label(depth > layer)
        astride = False
        total = np.count_nonzero(parts)
        for part, box in enumerate(ndimage.find_objects(parts), start=1):
            here = parts[box] == part
            on_left = (np.arange(lungs.shape[2])[box[2]] >= middle)[None, None] & here
            share = np.count_nonzero(on_left) / np.count_nonzero(here)
            # A part that reaches across with a tenth of it is two lungs, or the larger part of what they share.
            astride = astride or bool(0.1 < share < 0.9 and np.count_nonzero(here) > _LARGE * total)
            cores[box][here] = LEFT if share > 0.5 else RIGHT
        if count and not astride:
            _, nearest = ndimage.distance_transform_edt(cores == 0, spacing, return_indices=True)
            return np.asarray(cores[tuple(nearest)], dtype=np.uint8)
    return np.full(lungs.shape, BOTH, np.uint8)


def with_lesions(organ: Labels, lesions: Labels, spacing: Spacing) -> Labels:
    """The lungs with every lesion wholly in the lung that it touches; ``BOTH`` where it touches both, or neither."""
    whole = organ.copy()
    parts, _ = ndimage.label(lesions > 0, np.ones((3, 3, 3)))
    reach = [int(np.ceil(_TOUCHES_MM / mm)) for mm in spacing]
    for part, box in enumerate(ndimage.find_objects(parts), start=1):
        around = tuple(slice(max(0, side.start - n), side.stop + n) for side, n in zip(box, reach, strict=True))
        lesion = parts[around] == part
        near = ndimage.distance_transform_edt(~lesion, spacing) <= _TOUCHES_MM
        # The lung, not what of the lesion has been taken for lung.
        touched = set(np.unique(organ[around][near & (lesions[around] == 0)]).tolist()) & {RIGHT, LEFT}
        whole[around][lesion] = touched.pop() if len(touched) == 1 else BOTH
    return whole


def lung_of(organ: Labels, side: int) -> npt.NDArray[np.bool_]:
    """True in one lung and in what belongs to both."""
    return np.asarray((organ == side) | (organ == BOTH))


def told_apart(organ: Labels) -> bool:
    """Whether a mask of the lungs says of any voxel which lung it is."""
    return bool(np.isin(organ, (RIGHT, LEFT)).any())


def _midline(lungs: Mask) -> int | None:
    """The column between the lungs: in the middle third, where least is lung; None if that is not much less."""
    profile = lungs.sum(axis=(0, 1))
    across = bounding_box(lungs)[2]
    third = (across.stop - across.start) // 3
    inner = profile[across.start + third : across.stop - third]
    if not inner.size:
        return None
    middle = across.start + third + int(np.argmin(inner))
    lower_side = min(profile[:middle].max(initial=0), profile[middle:].max())
    return middle if profile[middle] <= _DIP * lower_side else None
