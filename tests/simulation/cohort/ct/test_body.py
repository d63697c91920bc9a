import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from simulation.cohort.ct.body import Body, Template, Variation
from simulation.cohort.fields import Grid

STILL = Variation(rotation=(0, 0, 0), size=0, shape=0, shift=(0, 0, 0), elastic=())
EXTENT = (60.0, 80.0, 100.0)
GRID = Grid.regular((5, 10, 10), (50, 70, 90), 4.0)


def test_template_is_sampled_where_it_lies_and_keeps_its_value_beyond() -> None:
    """Against scipy's interpolation at the same places."""
    rng = np.random.default_rng(0)
    volume = rng.standard_normal((9, 11, 13)).astype(np.float32)
    spacing = (2.0, 1.5, 1.0)
    template = Template({"hu": volume}, spacing, {"hu": -1000.0})
    assert template.extent == (16.0, 15.0, 12.0)
    position = [rng.uniform(0, extent, (3, 4, 5)).astype(np.float32) for extent in template.extent]
    index = [p / s for p, s in zip(position, spacing, strict=True)]
    ours = template.at(position)["hu"]
    np.testing.assert_allclose(ours, map_coordinates(volume, index, order=1), atol=2e-3)
    far = [np.full((1, 1, 1), 100, np.float32)] * 3
    assert template.at(far)["hu"].item() == -1000


def test_person_without_variation_is_the_template() -> None:
    z, y, x = Body(np.random.default_rng(0), STILL, EXTENT).template_position(GRID)
    for position, axis, shape in ((z, GRID.z, (-1, 1, 1)), (y, GRID.y, (1, -1, 1)), (x, GRID.x, (1, 1, -1))):
        np.testing.assert_allclose(position, np.broadcast_to(axis.reshape(shape), GRID.shape), atol=1e-4)


def test_mirrored_person_has_left_and_right_exchanged() -> None:
    mirrored = Variation(rotation=(0, 0, 0), size=0, shape=0, shift=(0, 0, 0), elastic=(), mirrored=1.0)
    body = Body(np.random.default_rng(0), mirrored, EXTENT)
    assert body.mirrored
    np.testing.assert_allclose(body.template_position(GRID)[2][0, 0], EXTENT[2] - GRID.x, atol=1e-4)


@pytest.mark.parametrize("height", [0.0, 1.0])
def test_elastic_displacement_has_the_size_that_was_asked_for(height: float) -> None:
    variation = Variation(rotation=(0, 0, 0), size=0, shape=0, shift=(0, 0, 0), elastic=((30.0, 3.0),), height=height)
    moved = []
    for seed in range(12):
        z, y, _ = Body(np.random.default_rng(seed), variation, EXTENT).template_position(GRID)
        moved.append([(z - GRID.z[:, None, None]).std(), (y - GRID.y[None, :, None]).std()])
    along_z, along_y = np.mean(moved, axis=0)
    assert along_z == pytest.approx(3 * height, rel=0.4)
    assert along_y == pytest.approx(3, rel=0.4)


def test_neighbouring_slices_agree_whichever_of_them_are_made() -> None:
    variation = Variation(rotation=(4, 2, 2), size=0.05, shape=0.05, shift=(4, 4, 4), elastic=((40.0, 3.0),))
    everything = Body(np.random.default_rng(1), variation, EXTENT).template_position(GRID)
    part = Body(np.random.default_rng(1), variation, EXTENT).template_position(Grid(GRID.z[3:6], GRID.y, GRID.x))
    for whole, some in zip(everything, part, strict=True):
        np.testing.assert_allclose(some, whole[3:6], atol=1e-3)
