"""One demo patient with CT of the liver in two phases, from a seed to Hounsfield units and masks."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from common.seeding import Label, numpy_generator
from common.system.array_files import read_arrays
from simulation.cohort.ct.abdomen import DEPTH_UNIT, LIVER, SPACING, STRUCTURES
from simulation.cohort.ct.body import Body, Template, Variation
from simulation.cohort.ct.drawing import draw_table
from simulation.cohort.ct.scanner import LIVER_SCANNERS, MATRIX, CtScanner, acquire, round_field, scanner_named
from simulation.cohort.fields import Array, Grid, SmoothField, soft_step
from simulation.cohort.key import PatientKey
from simulation.cohort.liver.findings import Findings
from simulation.cohort.liver.masses import PHASES, Mass, mask_of

VARIATION = Variation(
    rotation=(3, 0.5, 0.5),
    size=0.05,
    shape=0.04,
    shift=(0, 4, 4),
    elastic=((150.0, 7.0), (60.0, 2.2)),
    height=0.25,
)
"""Little along z: the template has 20 slices. Left and right stay, since the liver lies on the right."""

RADII = (12.0, 28.0)
"""mm: masses of the demo."""

LARGEST_SHARE = 0.75
"""Of the slices, most that may show a mass: a patient with a mass has slices without, too."""

_BLOOD = {"aorta": 152.0, "portal": 133.0, "cava": 94.0, "spleen": 80.0}
"""HU of the template."""

_PHASE_HU = {
    "AP": {"aorta": (240, 310), "portal": (95, 130), "cava": (75, 100), "spleen": (105, 130), "liver": (66, 80)},
    "PVP": {"aorta": (145, 180), "portal": (150, 185), "cava": (110, 145), "spleen": (105, 125), "liver": (100, 118)},
}
"""Ranges of HU between people."""

_VESSEL_GAIN = {"AP": (-0.1, 0.3), "PVP": (1.2, 1.9)}
"""The liver's vessels beside those of the template, whose phase lies after both."""

_MOST_DRAWS = 60


@dataclass(frozen=True)
class LiverPatient:
    """A patient before he is written.

    Attributes:
        phases: (Z, Y, X) float32 HU for each of ``PHASES``; z to superior, y to posterior, x to the left.
        masks: (Z, Y, X) bool for each structure that is there: ``liver`` (without the mass and the portal vein),
            ``mass``, ``portal``, ``aorta``. No two overlap.
        findings: (Z, Y, X) bool, where a harmless focal finding lies; not written.
        segmented: the phase on which the masks were drawn.
        spacing: mm along (z, y, x).
        inside: (Y, X) where the scanner reconstructs; None for everywhere.
        kernel: reconstruction kernel.
    """

    phases: dict[str, Array]
    masks: dict[str, npt.NDArray[np.bool_]]
    findings: npt.NDArray[np.bool_]
    segmented: str
    spacing: tuple[float, float, float]
    inside: npt.NDArray[np.bool_] | None
    kernel: str


@lru_cache(maxsize=1)
def load_abdomen(path: Path) -> Template:
    """The template of the abdomen, read once for each process."""
    volumes = read_arrays(path)
    for name in STRUCTURES:
        volumes[name] = volumes[name].astype(np.float32) * np.float32(DEPTH_UNIT)
    return Template(volumes, SPACING, {"image": -1000.0, **dict.fromkeys(STRUCTURES, -30.0)})


def make_liver_patient(key: PatientKey, anatomy: Path) -> LiverPatient:
    """The patient that ``key`` names; the same on every machine.

    Args:
        anatomy: folder of ``fetch_ct_anatomies``.

    Raises:
        ConfigError: if the scanner is unknown.
    """
    scanner = scanner_named(key.scanner, LIVER_SCANNERS)
    rng = numpy_generator(Label.DEMO_COHORT, Label.LIVER, key.seed, key.site, key.index)
    template = load_abdomen(anatomy / "abdomen.npz")
    # The template's slices are spread to the scanner's distance.
    stretch = scanner.slice_distance / SPACING[0]
    extent = (template.extent[0] * stretch, *template.extent[1:])
    body = Body(rng, VARIATION, extent)
    pixel = round(float(rng.uniform(*scanner.field_of_view)) / MATRIX, 4)
    grid = _grid(rng, extent, key.slices, scanner.slice_distance, pixel)
    z, y, x = body.template_position(grid)
    z = np.clip(z / np.float32(stretch), 0, template.extent[0])
    sampled = template.at((z, y, x))
    depth = sampled["liver"]
    phases = _phases(rng, sampled, grid, extent)
    masses = _masses(rng, grid, depth) if key.tumour else []
    mass = np.zeros(grid.shape, bool)
    for one in masses:
        mass |= mask_of(one, grid, depth)
    findings = Findings(rng, _seats(grid, depth, 6.0), extent).apply(phases, grid, depth, mass)
    for one in masses:
        found = one.box(grid)
        if found is not None:
            one.draw(phases, found[1], found[0], depth[found[0]])
    masks = {name: (sampled[name] > 0) & ~mass for name in ("portal", "aorta")}
    masks["liver"] = (depth > 0) & ~mass & ~masks["portal"] & ~masks["aorta"]
    masks["mass"] = mass
    return LiverPatient(
        phases={phase: _acquired(hu, grid, pixel, scanner, rng) for phase, hu in phases.items()},
        masks={name: mask for name, mask in masks.items() if mask.any()},
        findings=findings,
        segmented=PHASES[int(rng.random() < 0.6)],
        spacing=(scanner.slice_distance, pixel, pixel),
        inside=round_field((MATRIX, MATRIX)) if scanner.round_field else None,
        kernel=scanner.kernel,
    )


def _acquired(hu: Array, grid: Grid, pixel: float, scanner: CtScanner, rng: np.random.Generator) -> Array:
    draw_table(hu, grid)
    return acquire(hu, pixel, scanner, rng)


def _grid(
    rng: np.random.Generator, extent: tuple[float, float, float], slices: int, distance: float, pixel: float
) -> Grid:
    """The template's slices, or some neighbouring ones of them, with the body in the middle of the field of view."""
    whole = round(extent[0] / distance) + 1
    count = min(slices, whole)
    first = int(rng.integers(whole - count + 1))
    along = (np.arange(MATRIX) - (MATRIX - 1) / 2) * pixel
    y, x = ((along + side / 2 + rng.uniform(-8, 8)).astype(np.float32) for side in extent[1:])
    return Grid(((first + np.arange(count)) * distance).astype(np.float32), y, x)


def _phases(
    rng: np.random.Generator, sampled: dict[str, Array], grid: Grid, extent: tuple[float, float, float]
) -> dict[str, Array]:
    """The healthy body in each phase."""
    soft = {name: soft_step(sampled[name], 1.2) for name in STRUCTURES}
    box = (-30.0, -60.0, -60.0), (extent[0] + 60, extent[1] + 120, extent[2] + 120)
    first, second = (SmoothField(rng, 46, *box).on(grid) for _ in range(2))
    # Two smooth fields are both zero along curves; near them run the hepatic veins.
    veins = soft_step(0.035 - first * first - second * second, 0.03) * soft_step(sampled["liver"] - 5, 3)
    moire = SmoothField(rng, 22, *box).on(grid)
    phases = {}
    for phase in PHASES:
        hu = sampled["image"].copy()
        wanted = {name: float(rng.uniform(*limits)) for name, limits in _PHASE_HU[phase].items()}
        gain = float(rng.uniform(*_VESSEL_GAIN[phase]))
        hu += (np.float32(gain) - 1) * sampled["vessels"] * (1 - soft["portal"])
        hu += soft["liver"] * (1 - soft["portal"]) * np.float32(wanted["liver"] - LIVER)
        hu += veins * np.float32(38 if phase == "PVP" else -6)
        for name, level in _BLOOD.items():
            hu += soft[name] * np.float32(wanted[name] - level)
        if phase == "AP":
            # The spleen takes up contrast medium in stripes at first.
            hu += soft["spleen"] * moire * np.float32(18)
        phases[phase] = hu
    return phases


def _seats(grid: Grid, depth: Array, margin: float) -> npt.NDArray[np.float64]:
    """(N, 3) mm, places at least ``margin`` mm inside the liver."""
    index = np.nonzero(depth[:, ::3, ::3] > margin)
    axes = grid.z, grid.y[::3], grid.x[::3]
    return np.stack([axis[i] for axis, i in zip(axes, index, strict=True)], axis=1).astype(np.float64)


def _masses(rng: np.random.Generator, grid: Grid, depth: Array) -> list[Mass]:
    """One to four masses, apart from each other, with slices left that show none."""
    wanted = int(rng.choice([1, 2, 3, 4], p=[0.5, 0.25, 0.15, 0.1]))
    thickness = float(grid.z[-1] - grid.z[0])
    masses: list[Mass] = []
    shown = np.zeros(len(grid.z), bool)
    for _ in range(_MOST_DRAWS):
        # The first is the largest; the others are its daughters.
        largest = min(RADII[1], 0.5 * thickness) if not masses else max(RADII[0] + 1, 0.6 * masses[0].radius)
        smallest = RADII[0] if masses else min(RADII[0] + 3, largest - 1)
        radius = float(rng.uniform(smallest, max(smallest + 1, largest)))
        seats = _seats(grid, depth, min(0.45 * radius, 8.0) if rng.random() < 0.4 else min(radius, 18.0))
        if not len(seats):
            continue
        centre = seats[rng.integers(len(seats))] + rng.uniform(-1, 1, 3)
        if any(np.linalg.norm(centre - other.centre) < 1.15 * (radius + other.radius) for other in masses):
            continue
        mass = Mass(rng, centre, radius)
        mask = mask_of(mass, grid, depth)
        seen = mask.any(axis=(1, 2))
        if seen.sum() < min(4, len(grid.z) // 3) or (shown | seen).mean() > LARGEST_SHARE:
            continue
        masses.append(mass)
        shown |= seen
        if len(masses) == wanted:
            break
    return masses
