"""A made-up CT anatomy in the prepared form, so that tests of the demo's CT patients need no download."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from common.system.array_files import write_arrays
from simulation.cohort.ct.anatomy import ANATOMY
from simulation.cohort.ct.nodule_shapes import DISTANCE_UNIT, pack


def write_made_up_anatomy(cache_dir: Path) -> Path:
    """Writes it where ``fetch_ct_anatomies(cache_dir)`` finds it, and returns that folder."""
    folder = cache_dir / "anatomy" / ANATOMY
    folder.mkdir(parents=True)
    write_arrays(folder / "thorax.npz", _thorax())
    write_arrays(folder / "abdomen.npz", _abdomen())
    write_arrays(folder / "nodules.npz", pack(_nodules()))
    return folder


def _depth(
    shape: tuple[int, int, int], centre: tuple[float, float, float], radii: tuple[float, float, float]
) -> npt.NDArray[np.float64]:
    """About the mm inside an ellipsoid, in samples of 1.5 mm."""
    offsets = (((np.arange(n) - c) / r) for n, c, r in zip(shape, centre, radii, strict=True))
    z, y, x = offsets
    distance = np.sqrt(z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None, :] ** 2)
    return (1 - distance) * min(radii) * 1.5


def _thorax() -> dict[str, npt.NDArray[np.generic]]:
    shape = (114, 167, 233)
    body = _depth(shape, (57, 83, 116), (400, 75, 108))
    lungs = np.maximum(_depth(shape, (57, 83, 66), (80, 52, 42)), _depth(shape, (57, 83, 166), (80, 52, 42)))
    heart = _depth(shape, (45, 65, 122), (40, 25, 14))
    native = np.where(body > 0, np.where(lungs > 0, -860, 40), -1000)
    return {
        "native": native.astype(np.int16),
        "enhancement": np.where(heart > 0, 300, 0).astype(np.int16),
        "lung": np.clip(np.rint(lungs * 2), -127, 127).astype(np.int8),
    }


def _abdomen() -> dict[str, npt.NDArray[np.generic]]:
    shape = (20, 280, 380)
    body = _depth(shape, (10, 140, 190), (400, 120, 170))
    image = np.where(body > 0, 60, -1000)
    places = {
        "liver": ((10.0, 130.0, 110.0), (60.0, 75.0, 70.0), 95),
        "portal": ((8.0, 130.0, 150.0), (8.0, 9.0, 12.0), 133),
        "aorta": ((10.0, 170.0, 195.0), (400.0, 12.0, 12.0), 152),
        "cava": ((10.0, 165.0, 165.0), (400.0, 9.0, 12.0), 94),
        "spleen": ((10.0, 170.0, 310.0), (60.0, 50.0, 30.0), 80),
    }
    volumes: dict[str, npt.NDArray[np.generic]] = {}
    for name, (centre, radii, hu) in places.items():
        depth = _depth(shape, centre, radii)
        image = np.where(depth > 0, hu, image)
        volumes[name] = np.clip(np.rint(depth * 4), -127, 127).astype(np.int8)
    return {"image": image.astype(np.int16), "vessels": np.zeros(shape, np.int8), **volumes}


def _nodules() -> list[tuple[npt.NDArray[np.int8], npt.NDArray[np.uint8], float]]:
    """Balls of 5 to 28 mm; the large ones drawn by three or four readers, the small ones by one or two."""
    made = []
    for index, diameter in enumerate((5, 6, 7, 8, 11, 12, 13, 15, 18, 21, 24, 28)):
        half = diameter // 2 + 5
        z, y, x = np.mgrid[-half : half + 1, -half : half + 1, -half : half + 1]
        distance = np.sqrt(z * z + y * y + x * x) - diameter / 2
        readers = 1 + index % 2 if diameter < 9 else 3 + index % 2
        read = np.stack([distance + 0.4 * reader for reader in range(readers)])
        ratings = np.full((readers, 9), 3, np.uint8)
        ratings[:, 2], ratings[:, 6], ratings[:, 7] = 6, 1 + index % 5, (5, 5, 3, 1)[index % 4]
        ratings[:, 8] = 1 + index % 5
        made.append((np.clip(np.rint(read / DISTANCE_UNIT), -127, 127).astype(np.int8), ratings, float(diameter)))
    return made
