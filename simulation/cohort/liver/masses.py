"""Liver masses as in hepatocellular carcinoma: bright in the arterial phase, washed out in the portal venous one."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from simulation.cohort.ct.drawing import Box, Place, box_around, replace
from simulation.cohort.fields import Array, Grid, SmoothField, soft_step

PHASES = ("AP", "PVP")
"""Arterial and portal venous phase, as the series' descriptions name them."""


class Kind(StrEnum):
    """How a mass takes up contrast medium."""

    HYPERVASCULAR = "hypervascular"
    MODERATE = "moderate"
    HYPOVASCULAR = "hypovascular"


_CONTRAST = {
    Kind.HYPERVASCULAR: {"AP": (55.0, 95.0), "PVP": (-62.0, -35.0)},
    Kind.MODERATE: {"AP": (38.0, 60.0), "PVP": (-55.0, -35.0)},
    Kind.HYPOVASCULAR: {"AP": (-48.0, -28.0), "PVP": (-65.0, -42.0)},
}
"""HU of living tumour beside the liver in each phase: the conspicuous half of what is seen in patients, because a dozen
patients at 64 pixels teach a classifier nothing about the faint half."""

_SHARES = {Kind.HYPERVASCULAR: 0.55, Kind.MODERATE: 0.3, Kind.HYPOVASCULAR: 0.15}


@dataclass(frozen=True)
class _Fields:
    """Smooth random fields over a small box, each (nz, ny, nx)."""

    lumps: Array
    fine: Array
    mosaic: Array
    septa: Array
    necrosis: Array


class Mass:
    """One mass.

    Args:
        rng: where everything random comes from.
        centre: mm along (z, y, x).
        radius: mm.
    """

    def __init__(self, rng: np.random.Generator, centre: Place, radius: float) -> None:
        self.centre = centre
        self.radius = radius
        self._seed = int(rng.integers(2**62))
        axes = rng.uniform(0.85, 1.2, 3)
        self._axes = axes / np.prod(axes) ** (1 / 3)
        self._lobulation = float(rng.uniform(0.05, 0.16))
        self._edge = float(rng.uniform(0.9, 2.2))
        self.kind = list(Kind)[rng.choice(len(Kind), p=[_SHARES[kind] for kind in Kind])]
        self._contrast = {phase: float(rng.uniform(*_CONTRAST[self.kind][phase])) for phase in PHASES}
        large = radius > 13
        self._mosaic = float(rng.uniform(7, 18) if large else rng.uniform(2, 7))
        self._necrosis = float(rng.uniform(0.3, 1.0) * (rng.random() < (0.55 if large else 0.1)))
        self._capsule = float(rng.uniform(18, 38) * (rng.random() < 0.6))

    def box(self, grid: Grid) -> tuple[Box, Grid] | None:
        """The part of ``grid`` that the mass may reach."""
        return box_around(grid, self.centre, self.radius * 1.7 + 6)

    def distance(self, part: Grid, depth: Array) -> Array:
        """(nz, ny, nx) mm to the surface on the mass's own box, negative inside.

        Args:
            depth: mm to the border of the liver on that box; a mass may bulge a little.
        """
        return self._distance(part, self._fields(part), depth)

    def draw(self, phases: dict[str, Array], part: Grid, box: Box, depth: Array) -> None:
        """Changes every phase in place."""
        fields = self._fields(part)
        distance = self._distance(part, fields, depth)
        inside = soft_step(-distance, self._edge)
        deep = np.clip(-distance / np.float32(self.radius), 0, 1)
        necrosis = self._necrosis * soft_step(fields.necrosis + 2.2 * deep - 1.1, 0.5) * soft_step(deep - 0.16, 0.1)
        septa = soft_step(0.16 - np.abs(fields.septa), 0.14) * soft_step(deep - 0.05, 0.05)
        shell = np.exp(-(((distance + 0.6) / 1.3) ** 2)) * soft_step(depth, 2.0)
        for phase, hu in phases.items():
            view = hu[box]
            # The mosaic is seen where tumour lives: strongest in the arterial phase.
            living = self._contrast[phase] + self._mosaic * fields.mosaic * (1.0 if phase == "AP" else 0.6)
            if self._mosaic > 7:
                living = living + septa * (-12.0 if phase == "AP" else 14.0)
            around = float(np.median(view[soft_step(depth, 1.0) > 0.9])) if (depth > 1).any() else 90.0
            tissue = around + living
            tissue = tissue + necrosis * (28 + 4 * fields.fine - tissue)
            replace(view, inside, tissue)
            if self._capsule:
                view += shell * np.float32(self._capsule * (1.0 if phase == "PVP" else -0.25))

    def _fields(self, part: Grid) -> _Fields:
        rng = np.random.default_rng(self._seed)
        sizes = (max(14.0, self.radius * 1.1), 7.0, max(9.0, self.radius * 0.5), max(14.0, self.radius * 0.8), 16.0)
        return _Fields(*(_small_field(rng, size, part) for size in sizes))

    def _distance(self, part: Grid, fields: _Fields, depth: Array) -> Array:
        z, y, x = (o / np.float32(a) for o, a in zip(part.offsets(self.centre), self._axes, strict=True))
        rough = 1 + self._lobulation * fields.lumps
        distance = np.sqrt(z * z + y * y + x * x) - np.float32(self.radius) * rough + 0.5 * fields.fine
        # Not beyond the capsule of the liver, save for a gentle bulge.
        return np.asarray(np.maximum(distance, -depth - 1.0), np.float32)


def _small_field(rng: np.random.Generator, size: float, part: Grid) -> Array:
    """A smooth random field on a small grid."""
    axes = part.z, part.y, part.x
    origin = tuple(float(axis[0]) - size for axis in axes)
    extent = tuple(float(axis[-1] - axis[0]) + 2 * size for axis in axes)
    return SmoothField(rng, size, origin, extent).on(part)  # type: ignore[arg-type]


def mask_of(mass: Mass, grid: Grid, depth: Array) -> npt.NDArray[np.bool_]:
    """(nz, ny, nx) the samples inside ``mass``."""
    mask = np.zeros(grid.shape, bool)
    found = mass.box(grid)
    if found is not None:
        box, part = found
        mask[box] = mass.distance(part, depth[box]) < 0
    return mask
