"""Several closed contours of one structure on one slice become one mask.

DICOM leaves open what a contour within a contour means (PS3.3 C.8.8.6.3 names only keyholes and the XOR types), and
programs differ. Here a contour that is there twice counts once, contours that cross are taken together, and one that
lies wholly within another is a hole in it, in which a further one is filled again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.spatial import KDTree

from common.imaging.dicom.contour import filled

Mask = npt.NDArray[np.bool_]
Points = npt.NDArray[np.float64]

_SAME = 0.5
"""Two contours are one and the same if they are nowhere further apart, in pixels."""

_COARSER = 1.5
"""So far may a contour lie within one that it touches, and still be the same, drawn with fewer points."""

_TOUCHING = 0.3
"""A contour may stand out so far, in pixels, from the one that it lies in; twice what the fine grid rounds."""

_FINE = 4
"""Points of the fine grid to a pixel, on which it is looked up whether a contour lies inside another."""

_STEP = 0.25
_MOST_STEPS = 20_000
_MOST_PAIRS = 5_000
_MOST_PIXELS = 2**26


def together(contours: Sequence[Points], shape: tuple[int, int]) -> tuple[Mask, int]:
    """(Y, X) the pixels that closed contours enclose, and the number of contours that were taken as holes.

    >>> outer, inner = (np.array([(a, a), (b, a), (b, b), (a, b)], float) for a, b in ((0.5, 7.5), (2.5, 5.5)))
    >>> mask, holes = together([outer, inner, inner[::-1]], (8, 8))
    >>> int(mask.sum()), holes
    (40, 1)

    Args:
        contours: (N, 2) of (x, y) each, as :func:`filled` takes them.
        shape: rows and columns.

    Raises:
        ValueError: if there are more contours than any structure has on a slice.
    """
    if len(contours) == 1:
        return filled(contours[0], shape), 0
    loops = [loop for points in contours if (loop := _loop(points, shape)) is not None]
    if sum(loop.mask.size for loop in loops) > _MOST_PIXELS:
        raise ValueError("there are too many contours on one slice")
    loops = sorted(loops, key=lambda loop: loop.rank, reverse=True)
    within = _nested(loops, shape)
    levels: list[int] = []
    for containers in within:
        levels.append(0 if containers is None else 1 + max((levels[i] for i in containers), default=-1))
    regions: dict[int, Mask] = {}
    whole = np.zeros(shape, np.bool_)
    for i in reversed(range(len(loops))):
        containers = within[i]
        if containers is None:
            continue
        region = regions.pop(i, loops[i].mask)
        window = loops[i].window
        if not containers:
            whole[window] |= region
        for outer in containers:
            # Taken out of the next one around it only: what lies in a hole is filled again.
            if not any(outer in (within[other] or ()) for other in containers):
                _take_out(regions.setdefault(outer, loops[outer].mask.copy()), loops[outer].window, region, window)
    return whole, sum(within[i] is not None and levels[i] % 2 == 1 for i in range(len(loops)))


@dataclass(frozen=True, eq=False)
class _Loop:
    """One contour: its points, those evenly along it, and what it encloses in the part of the image that it spans."""

    points: Points
    along: Points
    window: tuple[slice, slice]
    mask: Mask

    @property
    def rank(self) -> tuple[float, ...]:
        """Area of the box around it, then pixels inside: what lies within another is no larger. Then its place, so that
        the order in the file says nothing."""
        return float(np.prod(self.high - self.low).round(3)), np.count_nonzero(self.mask), *self.low.tolist()

    @cached_property
    def low(self) -> Points:
        return np.asarray(self.points.min(axis=0))

    @cached_property
    def high(self) -> Points:
        return np.asarray(self.points.max(axis=0))

    @cached_property
    def tree(self) -> KDTree:
        return KDTree(self.along)

    @cached_property
    def fine(self) -> tuple[Points, Mask]:
        """The image position of the first point of a fine grid, and which of its points lie inside."""
        corner = np.array([self.window[1].start, self.window[0].start], np.float64) - 1
        rows, columns = (_FINE * (size + 2) for size in self.mask.shape)
        return corner, filled((self.points - corner) * _FINE, (rows, columns))

    def holds(self, other: "_Loop", shape: tuple[int, int]) -> bool:
        """Whether another, smaller contour lies wholly within this one, as far as the image shows it."""
        along = other.along[((other.along > -0.5) & (other.along < np.array(shape[::-1]) - 0.5)).all(axis=1)]
        corner, inside = self.fine
        at = np.round((along - corner) * _FINE).astype(np.int64)
        known = np.asarray(((at >= 0) & (at < inside.shape[::-1])).all(axis=1))
        known[known] = inside[at[known, 1], at[known, 0]]
        beside = along[~known]
        return len(along) > 0 and (len(beside) == 0 or bool(self.tree.query(beside)[0].max() <= _TOUCHING))

    def apart(self, other: "_Loop") -> tuple[float, float]:
        """The least and the largest distance from a point of one to the nearest of the other, in pixels."""
        there, back = self.tree.query(other.along)[0], other.tree.query(self.along)[0]
        return float(there.min()), float(max(there.max(), back.max()))


def _loop(points: Points, shape: tuple[int, int]) -> _Loop | None:
    """None where it encloses no pixel of the image."""
    low, high = points.min(axis=0), points.max(axis=0)
    (left, top), (right, bottom) = (
        np.clip(end, 0, shape[::-1]).astype(np.int64) for end in (np.ceil(low), np.floor(high) + 1)
    )
    if left >= right or top >= bottom:
        return None
    mask = filled(points - (left, top), (int(bottom - top), int(right - left)))
    if not mask.any():
        return None
    window = slice(int(top), int(bottom)), slice(int(left), int(right))
    return _Loop(points, _along(points), window, mask)


def _along(points: Points) -> Points:
    """Points at even steps along a closed contour."""
    closed = np.vstack([points, points[:1]])
    lengths = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
    count = int(np.clip(np.ceil(lengths[-1] / _STEP), 8, _MOST_STEPS))
    at = np.linspace(0, lengths[-1], count, endpoint=False)
    return np.stack([np.interp(at, lengths, closed[:, axis]) for axis in (0, 1)], axis=1)


def _nested(loops: list[_Loop], shape: tuple[int, int]) -> list[list[int] | None]:
    """For each contour, in descending rank, those in which it lies; None for a copy of another.

    Of two copies the one that encloses more stays in ``loops``.
    """
    within: list[list[int] | None] = []
    pairs = 0
    lows, highs = (np.array([getattr(loop, end) for loop in loops]).reshape(-1, 2) for end in ("low", "high"))
    for i, loop in enumerate(loops):
        around = (lows[:i] <= loop.low + _SAME).all(axis=1) & (highs[:i] >= loop.high - _SAME).all(axis=1)
        containers: list[int] = []
        is_copy = False
        for outer in np.flatnonzero(around).tolist():
            if within[outer] is None:
                continue
            pairs += 1
            if pairs > _MOST_PAIRS:
                raise ValueError("there are too many contours within contours on one slice")
            inside = loops[outer].holds(loop, shape)
            is_copy = _is_copy(loop, loops[outer], inside)
            if is_copy:
                if np.count_nonzero(loop.mask) > np.count_nonzero(loops[outer].mask):
                    loops[outer] = loop
                break
            if inside:
                containers.append(outer)
        within.append(None if is_copy else containers)
    return within


def _is_copy(loop: _Loop, other: _Loop, inside: bool) -> bool:
    """Whether two contours are one, whatever their direction, beginning and number of points."""
    if max(np.abs(loop.low - other.low).max(), np.abs(loop.high - other.high).max()) > _COARSER:
        return False
    least, most = loop.apart(other)
    return most <= _SAME or (inside and least <= _TOUCHING and most <= _COARSER)


def _take_out(region: Mask, window: tuple[slice, slice], hole: Mask, place: tuple[slice, slice]) -> None:
    """Clears in ``region``, a part of the image, what ``hole``, another part of it, holds."""
    cut = [
        slice(max(ours.start, theirs.start), min(ours.stop, theirs.stop))
        for ours, theirs in zip(window, place, strict=True)
    ]
    if any(part.start >= part.stop for part in cut):
        return
    mine, its = (
        tuple(slice(part.start - side.start, part.stop - side.start) for part, side in zip(cut, sides, strict=True))
        for sides in (window, place)
    )
    region[mine] &= ~hole[its]
