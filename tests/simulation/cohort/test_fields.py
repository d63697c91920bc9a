import numpy as np
import pytest
from scipy.interpolate import BSpline

from simulation.cohort.fields import HEAD_ORIGIN, Grid, SmoothField, soft_step


def whole(step: float) -> Grid:
    return Grid.regular((0, 30, 34), (155, 226, 206), step)


def test_field_is_a_cubic_b_spline() -> None:
    field = SmoothField(np.random.default_rng(0), 10)
    grid = whole(7)
    values = field._coefficients.astype(np.float64)
    for axis, positions in ((2, grid.x), (1, grid.y), (0, grid.z)):
        knots = HEAD_ORIGIN[axis] + field.knot * (np.arange(values.shape[axis] + 4) - 3)
        values = np.apply_along_axis(lambda c, k=knots, p=positions: BSpline(k, c, 3)(p), axis, values)
    np.testing.assert_allclose(field.on(grid), values, atol=1e-4)


@pytest.mark.parametrize("size", [6.0, 12.0])
def test_field_has_mean_zero_and_variance_one(size: float) -> None:
    values = SmoothField(np.random.default_rng(1), size).on(whole(2))
    assert abs(values.mean()) < 0.1
    assert values.std() == pytest.approx(1, abs=0.1)


def test_part_of_a_grid_sees_the_same_field() -> None:
    field = SmoothField(np.random.default_rng(2), 9)
    everything = field.on(whole(1))
    part = field.on(Grid.regular((60, 80, 90), (70, 100, 120)))
    np.testing.assert_allclose(part, everything[60:70, 50:70, 56:86], atol=1e-6)


def test_soft_step_rises_from_zero_to_one() -> None:
    steps = soft_step(np.linspace(-2, 2, 41, dtype=np.float32), 1)
    assert steps[0] == 0
    assert steps[-1] == 1
    assert steps[20] == pytest.approx(0.5)
    assert (np.diff(steps) >= 0).all()
