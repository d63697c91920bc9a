"""Which values of a 2D mask stand for areas, and which are the blur that resampling or JPEG leaves at their edges."""

import numpy as np
import numpy.typing as npt
from scipy.ndimage import label, maximum, maximum_filter, minimum, minimum_filter

Planes = npt.NDArray[np.float32]

_FEW = 12
"""So many values are compared one by one; a mask that was compressed or resampled has more, unless it is tiny."""
_MOST = 32
"""Classes that are looked for; what has more is no mask."""
_NEAR = 0.1
_FLAT = 0.04
_CALM = 0.03
"""Of the brightest: what is one class near an edge, one area, and one class far from any edge."""
_PEAK = 0.7
"""Of the brightest, what the middle of a small tumour keeps when it is blurred."""
REACH = 8
COLOUR_REACH = 16
"""Pixels over which JPEG spreads an edge: a block of grey, or two of colours, which it stores at half the size."""


def classes_of(planes: Planes, *, lossy: bool, reach: int) -> tuple[Planes, bool]:
    """The values that stand for areas, the most frequent first; black is all zeros where it is one.

    A value between two others is an edge where both are near and it fills no area of its own. What lies within 10 % of
    a class is of that class where an edge is near; away from edges 3 % tell areas apart, and in a file of few values
    and without loss every value does that fills an area.

    Args:
        planes: (Y, X, 1) grey values or (Y, X, 3) colours.
        lossy: whether the file was compressed with loss.
        reach: ``REACH``, or ``COLOUR_REACH`` where the file holds colours.

    Returns:
        (K, C), K at least 1, and whether these are exactly the values of the file.
    """
    if not planes.any():
        return np.zeros((1, planes.shape[2]), np.float32), True
    codes, table = coded(planes)
    exact = not lossy and (len(table) <= _FEW or 2 * len(_filled(codes, 2)) >= len(table))
    found = _of_few(codes, table) if exact else _of_many(planes, reach)
    shares = np.bincount(nearest(planes, found).ravel(), minlength=len(found))
    return np.asarray(found[np.argsort(-shares, kind="stable")]), exact


def nearest(planes: Planes, classes: Planes) -> npt.NDArray[np.intp]:
    """(Y, X) which class each pixel is nearest to; the brighter of two that are equally near."""
    order = np.argsort(-np.abs(classes).sum(axis=1), kind="stable")
    best = np.full(planes.shape[:2], order[0], np.intp)
    closest = _distance(planes, classes[order[0]])
    for one in order[1:]:
        distance = _distance(planes, classes[one])
        closer = distance < closest
        best[closer], closest[closer] = one, distance[closer]
    return best


def single_colour(planes: Planes) -> Planes | None:
    """The one colour (3,) that a mask (Y, X, 3) of a JPEG has beside black; None if there are several.

    JPEG stores colours at half the size, and what it makes of an edge is of the same hue or greyer; brightness stays
    sharp, so that a mask of one colour is best looked at in grey.
    """
    span = float(planes.max()) or 1.0
    flat = _range(planes, 3) <= _FLAT * span
    bright = planes.max(axis=2) > 0.5 * span
    found: list[Planes] = []
    _add_clusters(found, planes[flat & bright], _NEAR * span)
    if not found:
        found.append(planes.reshape(-1, 3)[planes.sum(axis=2).argmax()])
    colour = found[0]
    along = planes @ colour / (colour @ colour)
    return None if np.abs(planes - along[..., None] * colour).max() > 0.6 * span else colour


def coded(planes: Planes) -> tuple[npt.NDArray[np.intp], Planes]:
    """(Y, X) indexes of the distinct values (K, C)."""
    height, width, channels = planes.shape
    codes, table, _ = _counted(planes.reshape(-1, channels))
    return codes.reshape(height, width), table


def _counted(values: Planes) -> tuple[npt.NDArray[np.intp], Planes, npt.NDArray[np.intp]]:
    """Indexes (N,) of the distinct values (K, C) of (N, C), and how often each occurs."""
    if values.shape[1] == 1:
        table, codes, counts = np.unique(values[:, 0], return_inverse=True, return_counts=True)
        return codes, table[:, None], counts
    # Several times as fast as by rows.
    packed: npt.NDArray[np.uint32] = values.astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
    table, codes, counts = np.unique(packed, return_inverse=True, return_counts=True)
    colours = np.stack([table // 65536, table // 256 % 256, table % 256], axis=1)
    return codes, colours.astype(np.float32), counts


def _of_few(codes: npt.NDArray[np.intp], table: Planes) -> Planes:
    if len(table) <= 2:
        return table
    levels = np.abs(table).max(axis=1)
    span = levels.max()
    if span >= 100 and table.shape[1] == 1:  # 254 and 255 are what compressing white leaves.
        codes = np.where(levels[codes] >= 0.98 * span, levels.argmax(), codes)
    # What is nearly black may be noise of that kind as well: it takes a larger area to be a class.
    noise = (levels > 0) & (levels <= 0.02 * span) & (span >= 100)
    areas = {code for code in _filled(codes, 2) if not noise[code]} | set(_filled(codes, 3))
    classes = areas | {int(levels.argmax())} | set(np.flatnonzero(levels == 0).tolist())
    thin = set(np.unique(codes).tolist()) - classes
    found = table[sorted(classes)]
    # Of one or two values between black and the tumour hardly one is an edge: resampling makes more of them.
    if len(classes) == 2 and (len(thin) >= 3 or all(noise[code] for code in thin)):
        planes = table[codes]
        rest = _no_edges(planes, [_distance(planes, one) == 0 for one in found], span, REACH)
        return np.concatenate([found, _counted(rest)[1]])
    return np.concatenate([found, table[sorted(thin)]])


def _of_many(planes: Planes, reach: int) -> Planes:
    span = float(np.abs(planes).max()) or 1.0
    planes = _around_drawn(planes, 2 * reach + 2)
    flat = _range(planes, 3) <= _FLAT * span
    calm = flat & (_range(planes, 2 * reach + 1) <= _NEAR * span)
    found: list[Planes] = []
    _add_clusters(found, planes[calm], _CALM * span)
    _add_clusters(found, planes[flat & ~calm], _NEAR * span)
    if not any(np.abs(value).max() > _NEAR * span for value in found):  # Too small to be flat anywhere.
        level = np.abs(planes).sum(axis=2)
        found.append(planes[np.unravel_index(level.argmax(), level.shape)])
    near = [_distance(planes, value) <= _NEAR * span for value in found]
    _add_clusters(found, _no_edges(planes, near, span, reach), _NEAR * span)
    black = np.zeros_like(found[0])
    return np.stack([black if np.abs(value).max() <= _CALM * span else value for value in found])


def _no_edges(planes: Planes, near: list[npt.NDArray[np.bool_]], span: float, reach: int) -> Planes:
    """Values (N, C) of what lies near no class and cannot be an edge, for want of two classes within reach.

    A spot that is bright in its middle is a small tumour that was blurred; a thin line or spot of one value is a class.
    """
    around = np.sum([_spread(one, reach) for one in near], axis=0)
    left = ~np.any(near, axis=0) & (around < 2)
    if not left.any():
        return np.empty((0, planes.shape[2]), np.float32)
    level = np.abs(planes).max(axis=2)
    spots, count = label(level > _NEAR * span, np.ones((3, 3)))
    numbers = np.arange(1, count + 1)
    top = maximum(level, spots, numbers)
    rising = (top - minimum(level, spots, numbers) > _NEAR * span) & (top > _PEAK * span)
    solid = maximum(np.any([one & (level > 0.5 * span) for one in near], axis=0), spots, numbers) > 0
    blurred = np.concatenate([[False], rising & ~solid])
    return np.asarray(planes[left & ~blurred[spots]])


def _add_clusters(found: list[Planes], values: Planes, tolerance: float) -> None:
    """Appends the most frequent of ``values`` that lie near none of ``found``, until all lie near one."""
    _, table, counts = _counted(values)
    left = table[np.argsort(-counts, kind="stable")]
    for known in found:
        left = left[np.abs(left - known).max(axis=1) > tolerance]
    while len(left) and len(found) < _MOST:
        found.append(left[0])
        left = left[np.abs(left - left[0]).max(axis=1) > tolerance]


def _distance(planes: Planes, value: Planes) -> Planes:
    """(Y, X) largest difference of a channel."""
    return np.asarray(np.abs(planes - value).max(axis=2))


def _around_drawn(planes: Planes, margin: int) -> Planes:
    """The part that is not all black, with a margin: a tumour is small, and what is looked for takes time."""
    rows, columns = (np.flatnonzero(planes.any(axis=axes)) for axes in ((1, 2), (0, 2)))
    top, left = (max(int(some[0]) - margin, 0) for some in (rows, columns))
    return planes[top : int(rows[-1]) + margin + 1, left : int(columns[-1]) + margin + 1]


def _range(planes: Planes, size: int) -> Planes:
    """(Y, X) largest difference of a channel within a window of ``size`` pixels."""
    channels = np.moveaxis(planes, 2, 0)
    return np.asarray(np.max([maximum_filter(one, size) - minimum_filter(one, size) for one in channels], axis=0))


def _spread(mask: npt.NDArray[np.bool_], reach: int) -> npt.NDArray[np.bool_]:
    return np.asarray(maximum_filter(mask, size=2 * reach + 1))


def _filled(codes: npt.NDArray[np.intp], side: int) -> list[int]:
    """The codes that fill a square of ``side`` pixels somewhere."""
    height, width = (max(length - side + 1, 1) for length in codes.shape)
    shifted = [codes[y:, x:][:height, :width] for y in range(side) for x in range(side)]
    same = np.all([one == shifted[0] for one in shifted if one.shape == shifted[0].shape], axis=0)
    return [int(code) for code in np.unique(shifted[0][same])]
