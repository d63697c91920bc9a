import numpy as np
import pytest

from simulation.cohort.ct.drawing import box_around, cover, draw_table, replace, tube
from simulation.cohort.fields import Grid

GRID = Grid.regular((0, 0, 0), (20, 30, 40))


def test_box_holds_all_within_reach_and_is_none_elsewhere() -> None:
    found = box_around(GRID, np.array([10.0, 15.0, 38.0]), 4)
    assert found is not None
    box, part = found
    assert part.shape == (9, 9, 6)
    assert np.array_equal(GRID.x[box[2]], part.x)
    assert box_around(GRID, np.array([10.0, 15.0, 90.0]), 4) is None


def test_tube_has_the_volume_of_a_cylinder() -> None:
    covered = tube(GRID, [np.array([10.0, 15.0, 0.0]), np.array([10.0, 15.0, 39.0])], (4.0, 4.0), 0.5)
    assert covered[:, :, 10:30].sum() == pytest.approx(np.pi * 4**2 * 20, rel=0.03)
    tapered = tube(GRID, [np.array([10.0, 15.0, 0.0]), np.array([10.0, 15.0, 39.0])], (4.0, 1.0), 0.5)
    assert tapered[:, :, 2].sum() > 4 * tapered[:, :, 37].sum()


def test_cover_keeps_what_is_denser_and_replace_does_not() -> None:
    hu = np.array([-800.0, 200.0], np.float32)
    cover(hu, np.ones(2, np.float32), 40.0)
    assert hu.tolist() == [40, 200]
    replace(hu, np.array([0.5, 1.0], np.float32), 0.0)
    assert hu.tolist() == [20, 0]


def test_table_lies_beneath_the_body_and_not_in_it() -> None:
    grid = Grid.regular((0, 0, 0), (4, 250, 300))
    hu = np.full(grid.shape, -1000, np.float32)
    hu[:, 50:150, 60:240] = 40
    before = hu.copy()
    draw_table(hu, grid)
    changed = hu != before
    assert changed[:, 150:].any()
    assert not changed[:, 50:150, 60:240].any()
