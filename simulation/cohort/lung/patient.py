"""One demo patient with CT of the chest, from a seed to Hounsfield units and four radiologists' readings."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from common.seeding import Label, numpy_generator
from common.system.array_files import read_arrays
from simulation.cohort.ct.body import Body, Template, Variation
from simulation.cohort.ct.drawing import Place, draw_table
from simulation.cohort.ct.nodule_shapes import AGREED, NoduleShape, load_shapes
from simulation.cohort.ct.scanner import LUNG_SCANNERS, MATRIX, acquire, round_field, scanner_named
from simulation.cohort.ct.thorax import SPACING
from simulation.cohort.fields import Array, Grid
from simulation.cohort.key import PatientKey
from simulation.cohort.lung.findings import Findings, Mark
from simulation.cohort.lung.nodules import Nodule, Reading

WIDTHS = (16.0, 34.0)
"""mm: widths of the demo's nodules, large ones. Where a lung is shown in 64 x 64, one of 10 mm covers nine pixels: a
classifier that learns from a dozen patients does not find it."""

VARIATION = Variation(
    rotation=(4, 2, 2),
    size=0.05,
    shape=0.05,
    shift=(4, 5, 6),
    elastic=((140.0, 6.0), (60.0, 1.8)),
    height=0.8,
    mirrored=0.3,
)

COUNTS = {1: 0.25, 2: 0.35, 3: 0.25, 4: 0.15}
"""How many nodules a patient with nodules has, and how often."""

LARGEST_SHARE = 0.75
"""Of the slices, most that may show a nodule: a patient with nodules has slices without, too."""

_HILA = ((75.0, 128.0, 130.0), (75.0, 128.0, 222.0))
"""Where the vessels of either lung come from, template mm along (z, y, x)."""

_EDGE = 6.0
"""mm of the template that a slab leaves at the top and at the bottom."""

_MOST_DRAWS = 40


@dataclass(frozen=True)
class LungPatient:
    """A patient before he is written.

    Attributes:
        hu: (Z, Y, X) float32, z to superior, y to posterior, x to the patient's left.
        spacing: mm along (z, y, x).
        inside: (Y, X) where the scanner reconstructs; None for everywhere.
        kernel: reconstruction kernel.
        enhanced: whether contrast medium was given.
        nodules: for each nodule of 3 mm or more, the reading of each reader (0 to 3) who outlined it.
        marks: points on smaller nodules and on what is none.
    """

    hu: Array
    spacing: tuple[float, float, float]
    inside: npt.NDArray[np.bool_] | None
    kernel: str
    enhanced: bool
    nodules: tuple[dict[int, Reading], ...]
    marks: tuple[Mark, ...]


@lru_cache(maxsize=1)
def load_thorax(path: Path) -> Template:
    """The template of the chest, read once for each process."""
    volumes = read_arrays(path)
    volumes["depth"] = volumes.pop("lung").astype(np.float32) / 2
    return Template(volumes, (SPACING,) * 3, {"native": -1000.0, "depth": -60.0})


def make_lung_patient(key: PatientKey, anatomy: Path) -> LungPatient:
    """The patient that ``key`` names; the same on every machine.

    Args:
        anatomy: folder of ``fetch_ct_anatomies``.

    Raises:
        ConfigError: if the scanner is unknown.
    """
    scanner = scanner_named(key.scanner, LUNG_SCANNERS)
    rng = numpy_generator(Label.DEMO_COHORT, Label.LUNG, key.seed, key.site, key.index)
    template, shapes = load_thorax(anatomy / "thorax.npz"), load_shapes(anatomy / "nodules.npz")
    body = Body(rng, VARIATION, template.extent)
    pixel = round(float(rng.uniform(*scanner.field_of_view)) / MATRIX, 4)
    grid = _grid(rng, template, key.slices, scanner.slice_distance, pixel)
    sampled = template.at(body.template_position(grid))
    hu, depth = sampled["native"], sampled["depth"]
    enhanced = bool(rng.random() < scanner.enhanced)
    contrast = float(rng.uniform(0.3, 0.55)) if enhanced else 0.0
    hu += np.float32(contrast) * sampled["enhancement"]

    seats, rims = _seats(grid, depth)
    marks = Findings(rng, seats, rims, template.extent).apply(hu, grid, depth)
    drawn = _doubtful(rng, shapes, grid, seats)
    if key.tumour:
        drawn += _agreed(rng, shapes, grid, depth)
    nodules = []
    for nodule in drawn:
        nodule.draw(hu, grid, depth, 250 * contrast)
        readers = rng.permutation(4)
        readings = nodule.readings(grid, depth)
        nodules.append({int(reader): reading for reader, reading in zip(readers, readings, strict=False)})
    draw_table(hu, grid)
    hu = acquire(hu, pixel, scanner, rng)
    return LungPatient(
        hu=hu,
        spacing=(scanner.slice_distance, pixel, pixel),
        inside=round_field((MATRIX, MATRIX)) if scanner.round_field else None,
        kernel=scanner.kernel,
        enhanced=enhanced,
        nodules=tuple(nodule for nodule in nodules if nodule),
        marks=tuple(marks),
    )


def _grid(rng: np.random.Generator, template: Template, slices: int, distance: float, pixel: float) -> Grid:
    """A slab somewhere in the lungs, in slices of pixels of ``pixel`` mm with the body in the middle."""
    height, rows, columns = template.extent
    count = min(slices, int((height - 2 * _EDGE) / distance))
    bottom = rng.uniform(_EDGE, max(_EDGE, height - _EDGE - count * distance))
    along = (np.arange(MATRIX) - (MATRIX - 1) / 2) * pixel
    middle = rows / 2 + rng.uniform(-8, 12), columns / 2 + rng.uniform(-8, 8)
    y, x = ((along + m).astype(np.float32) for m in middle)
    return Grid((bottom + np.arange(count) * distance).astype(np.float32), y, x)


def _seats(grid: Grid, depth: Array) -> tuple[Place, Place]:
    """(N, 3) places well inside the lungs, and just beneath their border."""
    coarse = depth[:, ::4, ::4]
    axes = grid.z, grid.y[::4], grid.x[::4]
    places = []
    for chosen in (coarse > 5, (coarse > 1) & (coarse < 5)):
        index = np.nonzero(chosen)
        places.append(np.stack([axis[i] for axis, i in zip(axes, index, strict=True)], axis=1).astype(np.float64))
    return places[0], places[1]


def _doubtful(rng: np.random.Generator, shapes: tuple[NoduleShape, ...], grid: Grid, seats: Place) -> list[Nodule]:
    """Small nodules that only one or two readers marked; the studies do not count them."""
    choices = [shape for shape in shapes if len(shape.ratings) < AGREED and shape.diameter < WIDTHS[0]]
    if not choices or not len(seats):
        return []
    places = [seats[rng.integers(len(seats))] for _ in range(rng.poisson(0.6))]
    return [
        Nodule(rng, choices[rng.integers(len(choices))], place, _hilum(grid, place), rng.random() < 0.4)
        for place in places
    ]


def _agreed(rng: np.random.Generator, shapes: tuple[NoduleShape, ...], grid: Grid, depth: Array) -> list[Nodule]:
    """The patient's nodules, apart from each other, with slices left between them."""
    low, high = float(grid.z[0]), float(grid.z[-1])
    largest = min(WIDTHS[1], max(WIDTHS[0] + 2, 0.55 * (high - low)))
    choices = [s for s in shapes if len(s.ratings) >= AGREED and WIDTHS[0] <= s.width <= largest]
    # Readers found few large nodules benign; here benign, undecided and malignant ones are equally frequent.
    verdicts = np.array([np.sign(shape.rating("malignancy") - 3) for shape in choices])
    weights = 1 / np.array([(verdicts == verdict).sum() for verdict in verdicts])
    wanted = rng.choice(list(COUNTS), p=list(COUNTS.values()))
    nodules: list[Nodule] = []
    shown = np.zeros(len(grid.z), bool)
    for _ in range(_MOST_DRAWS):
        # Small nodules are far more frequent than large ones; here every size has its share.
        size = rng.uniform(WIDTHS[0], largest)
        drawn = [choices[k] for k in rng.choice(len(choices), 12, p=weights / weights.sum())]
        shape = min(drawn, key=lambda candidate: abs(candidate.width - size))
        place = _seat(rng, grid, depth, shape.width / 2)
        if place is None or any(_near(place, shape, other) for other in nodules):
            continue
        nodule = Nodule(rng, shape, place, _hilum(grid, place), bool(rng.random() < 0.4))
        seen = np.zeros(len(grid.z), bool)
        for reading in nodule.readings(grid, depth):
            seen |= reading.mask.any(axis=(1, 2))
        if seen.sum() < 2 or (nodules and (shown | seen).mean() > LARGEST_SHARE):
            continue
        nodules.append(nodule)
        shown |= seen
        if len(nodules) == wanted:
            break
    return nodules


def _near(place: Place, shape: NoduleShape, other: Nodule) -> bool:
    return bool(np.linalg.norm(place - other.centre) < shape.diameter / 2 + other.radius + 8)


def _seat(rng: np.random.Generator, grid: Grid, depth: Array, radius: float) -> Place | None:
    """A place for a nodule: one in three touches the pleura, the others lie free."""
    coarse = depth[:, ::3, ::3]
    reach = min(radius, 8.0)
    heights = (grid.z > grid.z[0] + reach * 0.7) & (grid.z < grid.z[-1] - reach * 0.7)
    touching = (coarse > 0.45 * radius) & (coarse < 0.85 * radius)
    free = coarse > radius + 1.5
    first, second = (touching, free) if rng.random() < 0.35 else (free, touching)
    for chosen in (first, second):
        index = np.argwhere(chosen & heights[:, None, None])
        if len(index):
            z, y, x = index[rng.integers(len(index))]
            place: Place = np.array([grid.z[z], grid.y[3 * y], grid.x[3 * x]]) + rng.uniform(-1, 1, 3)
            return place
    return None


def _hilum(grid: Grid, place: Place) -> Place:
    """The root of the lung in which ``place`` lies."""
    return min((np.array(hilum) for hilum in _HILA), key=lambda hilum: float(abs(hilum[2] - place[2])))
