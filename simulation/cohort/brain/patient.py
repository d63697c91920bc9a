"""One patient of the demo cohort, from a seed to volumes."""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from common.seeding import Label, numpy_generator
from simulation.cohort.brain.anatomy import Anatomy, Head
from simulation.cohort.brain.confounders import Confounders
from simulation.cohort.brain.lesions import Lesion
from simulation.cohort.brain.scanner import acquire, scanner_named
from simulation.cohort.brain.signal import healthy_images
from simulation.cohort.brain.writing import VOLUME_SHAPE
from simulation.cohort.fields import Grid
from simulation.cohort.key import PatientKey

Scalar = TypeVar("Scalar", bound=np.generic)
Window = tuple[tuple[int, int], tuple[int, int]]

WINDOW: Window = ((28, 232), (32, 206))
"""Rows and columns of a BraTS slice that can hold brain; the rest is not computed."""

LOWEST, HIGHEST = 54, 132
"""A slab lies between these slices, where a section of the brain is large."""

MARGIN = 4
"""Slices computed beyond the slab on either side, because the slice profile of a scanner reaches there."""

SEAT_STEP = 4.0
"""mm between the places where a lesion may be centred."""


LARGEST_SHARE = 0.8
"""Of a slab's slices, most that may show the lesion: a patient with a tumour has slices without it, too."""

MOST_DRAWS = 50


@dataclass(frozen=True)
class Volumes:
    """A patient before it is written.

    Attributes:
        images: (Z, 240, 240) int16 for each contrast, 0 outside the brain.
        labels: (Z, 240, 240) uint8, BraTS values.
        findings: (Z, 240, 240) bool, where a harmless finding changed the signal; not written.
        first_slice: position of the first slice in a full volume.
    """

    images: dict[str, npt.NDArray[np.int16]]
    labels: npt.NDArray[np.uint8]
    findings: npt.NDArray[np.bool_]
    first_slice: int


def make_patient(key: PatientKey) -> Volumes:
    """The patient that ``key`` names; the same on every machine.

    Raises:
        ConfigError: if the scanner is unknown.
    """
    scanner = scanner_named(key.scanner)
    rng = numpy_generator(Label.DEMO_COHORT, Label.BRAIN, key.seed, key.site, key.index)
    head = Head(rng)
    overview = _grid(0, VOLUME_SHAPE[0], WINDOW, SEAT_STEP)
    outline = head.on(overview)
    tumour_seats, finding_seats = _seats(overview, outline)
    # A patient without a tumour has one drawn as well: it decides the slab, so that the slab tells nothing.
    lesion, first = _lesion_and_first_slice(rng, head, tumour_seats, key.slices)
    confounders = Confounders(rng, finding_seats)
    stop = min(VOLUME_SHAPE[0], first + key.slices)

    low, high = max(0, first - MARGIN), min(VOLUME_SHAPE[0], stop + MARGIN)
    inner = slice(first - low, stop - low)
    window = _window(overview, outline, low, high)
    grid = _grid(low, high, window)
    anatomy = head.on(grid, lesion.mass_effect(grid) if key.tumour else None)
    images = healthy_images(anatomy, grid, rng)
    maps = lesion.on(grid, anatomy) if key.tumour else None
    labels = maps.labels if maps else np.zeros(grid.shape, np.uint8)
    findings = confounders.apply(images, anatomy, grid, spared=labels > 0)
    if maps:
        lesion.apply(images, maps, grid)
    stored = acquire(images, anatomy.brain, grid, inner, scanner, rng)
    return Volumes(
        {contrast: _whole_slices(volume, window) for contrast, volume in stored.items()},
        _whole_slices(labels[inner], window),
        _whole_slices(findings[inner] > 0.2, window),
        first,
    )


def _grid(low: int, high: int, window: Window, step: float = 1.0) -> Grid:
    (top, bottom), (left, right) = window
    return Grid.regular((low, top, left), (high, bottom, right), step)


def _window(overview: Grid, outline: Anatomy, low: int, high: int) -> Window:
    """Rows and columns that hold brain between two slices, seen on a coarse grid, with a margin."""
    between = (overview.z >= low - SEAT_STEP) & (overview.z <= high + SEAT_STEP)
    seen = outline.brain[between]
    sides = []
    for positions, present, limits in zip(
        (overview.y, overview.x), (seen.any(axis=(0, 2)), seen.any(axis=(0, 1))), WINDOW, strict=True
    ):
        hit = positions[present]
        # Mass effect moves the surface by a few mm.
        start, stop = int(hit[0]) - 10, int(hit[-1]) + 11
        sides.append((max(limits[0], start), min(limits[1], stop)))
    return sides[0], sides[1]


def _seats(grid: Grid, anatomy: Anatomy) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Places (N, 3) for a tumour, in white matter well inside the brain, and for findings, anywhere in tissue."""
    heights = grid.z[:, None, None]
    in_range = (heights > LOWEST + 10) & (heights < HIGHEST - 10)
    tissue = anatomy.brain & (anatomy.fluid < 0.3)
    tumour = in_range & tissue & (anatomy.white > 0.6) & (anatomy.depth > 0.85)
    axes = (grid.z, grid.y, grid.x)
    places = [
        np.stack([axis[i] for axis, i in zip(axes, np.nonzero(mask), strict=True)], axis=1).astype(np.float64)
        for mask in (tumour, tissue & (anatomy.depth > 0.8))
    ]
    return places[0], places[1]


def _lesion_and_first_slice(
    rng: np.random.Generator, head: Head, seats: npt.NDArray[np.float64], slices: int
) -> tuple[Lesion, int]:
    """A lesion, and where a slab begins that shows it and leaves slices free of it.

    A lesion that fills any slab around it, or hardly reaches one, is drawn again.

    Raises:
        RuntimeError: if no lesion fits; no valid number of slices is known for which that happens.
    """
    for _ in range(MOST_DRAWS):
        lesion = Lesion(rng, seats[rng.integers(len(seats))] + rng.uniform(-2, 2, 3))
        if slices >= VOLUME_SHAPE[0]:
            return lesion, 0
        present = _lesion_slices(head, lesion)
        if len(present) == 0:
            continue
        first = _first_slice(rng, int(present[0]), int(present[-1]), slices)
        shown = np.count_nonzero((present >= first) & (present < first + slices))
        if min(4, slices // 4) <= shown <= LARGEST_SHARE * slices:
            return lesion, first
    raise RuntimeError(f"no lesion fits a slab of {slices} slices after {MOST_DRAWS} draws")


def _lesion_slices(head: Head, lesion: Lesion) -> npt.NDArray[np.float32]:
    """Positions of the slices that hold lesion, seen on a grid that is coarse in the plane."""
    reach = round(2.6 * lesion.radius) + 12
    z, y, x = (
        np.arange(-reach, reach + 1, step, dtype=np.float32) + np.float32(round(middle))
        for middle, step in zip(lesion.centre, (1, SEAT_STEP, SEAT_STEP), strict=True)
    )
    grid = Grid(z, y, x)
    maps = lesion.on(grid, head.on(grid, lesion.mass_effect(grid)))
    present: npt.NDArray[np.float32] = z[(maps.labels > 0).any(axis=(1, 2))]
    return present


def _first_slice(rng: np.random.Generator, bottom: int, top: int, slices: int) -> int:
    """Where a slab begins that holds over half lesion slices, or all of a small lesion.

    With four of five patients having a tumour, nearly half of all slices then show one, so that an accuracy can be
    read without knowing how rare tumours are.
    """
    wanted = round(slices * rng.uniform(0.55, 0.75))
    share_below = rng.random()
    lesion_on_top = int(rng.random() < 0.5)
    height = top - bottom + 1
    highest = max(LOWEST, HIGHEST - slices)
    if height <= wanted:
        first = bottom - round(share_below * (slices - height))
    else:
        choices = [top - wanted + 1, bottom + wanted - slices]
        fitting = [choice for choice in choices if LOWEST <= choice <= highest]
        first = fitting[0] if len(fitting) == 1 else choices[lesion_on_top]
    return int(np.clip(first, LOWEST, highest))


def _whole_slices(part: npt.NDArray[Scalar], window: Window) -> npt.NDArray[Scalar]:
    """A window of rows and columns put back into (Z, 240, 240)."""
    whole = np.zeros((len(part), *VOLUME_SHAPE[1:]), part.dtype)
    whole[:, slice(*window[0]), slice(*window[1])] = part
    return whole
