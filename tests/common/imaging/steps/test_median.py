import numpy as np
import pytest
from scipy import ndimage

from common.imaging.steps.median import median_in_plane


@pytest.mark.parametrize("radius", [1, 2])
def test_each_slice_is_filtered_as_scipy_does(radius: int) -> None:
    volume = np.random.default_rng(0).normal(size=(4, 30, 26)).astype(np.float32)
    expected = np.stack([ndimage.median_filter(plane, 2 * radius + 1, mode="nearest") for plane in volume])
    np.testing.assert_array_equal(median_in_plane(volume, radius), expected)


def test_the_filter_agrees_with_monai_away_from_the_border() -> None:
    from monai.transforms import MedianSmooth

    volume = np.random.default_rng(0).normal(size=(2, 20, 20)).astype(np.float32)
    theirs = np.asarray(MedianSmooth(radius=1)(volume))  # of (channel, y, x): each slice for itself
    np.testing.assert_allclose(median_in_plane(volume, 1)[:, 1:-1, 1:-1], theirs[:, 1:-1, 1:-1])


def test_noise_goes_and_an_edge_stays() -> None:
    edge = np.zeros((1, 20, 20), np.float32)
    edge[..., 10:] = 100
    noisy = edge.copy()
    noisy[0, np.arange(2, 18, 4), np.arange(2, 18, 4)] = 999
    np.testing.assert_array_equal(median_in_plane(noisy, 1), edge)
