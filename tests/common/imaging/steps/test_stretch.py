import numpy as np
import pytest
from skimage.exposure import rescale_intensity

from common.errors import BadStudyError
from common.imaging.steps.stretch import stretch


def test_the_percentiles_of_the_region_become_0_and_1_as_scikit_image_has_it() -> None:
    volume = np.random.default_rng(0).normal(0.4, 0.05, (4, 30, 30)).astype(np.float32)
    volume[:, :10] = 0.9
    region = np.zeros(volume.shape, bool)
    region[:, 10:] = True
    low, high = np.percentile(volume[region], (1, 99))
    expected = rescale_intensity(volume, (low, high), (0.0, 1.0))
    stretched = stretch(volume, region, [1, 99])
    np.testing.assert_allclose(stretched, expected, atol=1e-5)
    assert (stretched[region] == 0).mean() == pytest.approx(0.01, abs=2e-3)
    assert (stretched[region] == 1).mean() == pytest.approx(0.01, abs=2e-3)
    assert stretched[~region].min() == 1  # brighter than the region: stays the brightest


def test_the_stretch_agrees_with_monai_where_the_region_is_everything() -> None:
    from monai.transforms import ScaleIntensityRangePercentiles

    volume = np.random.default_rng(0).normal(0.4, 0.05, (4, 30, 30)).astype(np.float32)
    theirs = ScaleIntensityRangePercentiles(2, 95, 0, 1, clip=True)(volume)
    np.testing.assert_allclose(stretch(volume, np.ones(volume.shape, bool), [2, 95]), np.asarray(theirs), atol=1e-5)


def test_a_region_without_contrast_is_refused() -> None:
    with pytest.raises(BadStudyError, match="no contrast"):
        stretch(np.full((1, 4, 4), 0.5, np.float32), np.ones((1, 4, 4), bool), [1, 99])
