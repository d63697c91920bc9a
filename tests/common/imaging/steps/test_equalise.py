import numpy as np
import pytest
from scipy.stats import kstest, rankdata
from skimage.exposure import equalize_hist

from common.errors import BadStudyError
from common.imaging.steps.equalise import equalise


def skewed() -> tuple[np.ndarray, np.ndarray]:
    volume = np.random.default_rng(0).beta(2, 6, (6, 40, 40)).astype(np.float32)
    region = np.zeros(volume.shape, bool)
    region[:, 5:35, 5:35] = True
    return volume, region


def test_brightness_is_uniform_in_the_region_afterwards() -> None:
    volume, region = skewed()
    assert kstest(volume[region], "uniform").statistic > 0.4
    assert kstest(equalise(volume, region)[region], "uniform").statistic < 0.02


def test_a_value_becomes_its_rank_in_the_region() -> None:
    volume, region = skewed()
    ranks = rankdata(volume[region]) / region.sum()
    np.testing.assert_allclose(equalise(volume, region)[region], ranks, atol=0.02)


def test_the_curve_agrees_with_scikit_image() -> None:
    volume, region = skewed()
    np.testing.assert_allclose(equalise(volume, region), equalize_hist(volume, 4096, region), atol=2e-3)


def test_the_curve_is_the_regions_wherever_it_is_applied() -> None:
    volume, region = skewed()
    bright = volume.copy()
    bright[~region] = np.minimum(bright[~region] + 0.5, 1)
    np.testing.assert_array_equal(equalise(volume, region)[region], equalise(bright, region)[region])
    assert equalise(bright, region)[~region].max() == 1


def test_what_a_window_has_cut_off_is_black_or_white_and_does_not_count() -> None:
    volume, region = skewed()
    cut = volume.copy()
    cut[:, 5:20, 5:20], cut[:, 5:8, 20:35] = 0, 1
    equalised = equalise(cut, region)
    assert equalised[cut == 0].max() < 0.02
    assert equalised[cut == 1].min() > 0.98
    seen = region & (cut > 0) & (cut < 1)
    np.testing.assert_array_equal(equalised[seen], equalise(cut, seen)[seen])


def test_a_region_without_contrast_is_refused() -> None:
    with pytest.raises(BadStudyError, match="no contrast"):
        equalise(np.full((1, 4, 4), 0.5, np.float32), np.ones((1, 4, 4), bool))
