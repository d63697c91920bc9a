import numpy as np
import pytest
from phantoms import study_of

from common.errors import BadStudyError
from common.imaging.steps.resample import resample


def smooth(shape: tuple[int, int, int]) -> np.ndarray:
    z, y, x = np.meshgrid(*(np.linspace(0, 3, n) for n in shape), indexing="ij")
    return (np.sin(z) + np.cos(2 * y) + x * y).astype(np.float32)[None]


@pytest.mark.parametrize("spacing", [[2.5, 1.0, 1.0], [1.0, 1.6, 0.7], [0.8, 0.8, 0.8]])
def test_images_agree_with_scipy_at_the_new_voxels(spacing: list[float]) -> None:
    from scipy.interpolate import RegularGridInterpolator

    study = study_of(smooth((12, 20, 24)), spacing=(2.0, 1.0, 0.9))
    resampled = resample(study, spacing)
    old = [np.arange(n) * mm for n, mm in zip(study.inside.shape, study.spacing, strict=True)]
    new = [np.arange(n) * mm for n, mm in zip(resampled.inside.shape, spacing, strict=True)]
    within = [places[places <= limit[-1]] for places, limit in zip(new, old, strict=True)]
    expected = RegularGridInterpolator(old, study.images[0])(np.stack(np.meshgrid(*within, indexing="ij"), -1))
    z, y, x = expected.shape
    np.testing.assert_allclose(resampled.images[0, :z, :y, :x], expected, atol=1e-4)
    assert resampled.spacing == tuple(spacing)


def test_images_agree_with_monai_on_the_same_grid() -> None:
    from monai.data import MetaTensor
    from monai.transforms import Spacing

    study = study_of(smooth((13, 17, 21)), spacing=(1.0, 1.0, 1.0))
    theirs = Spacing(pixdim=(2.0, 2.0, 2.0))(MetaTensor(study.images, affine=np.eye(4)))
    np.testing.assert_allclose(resample(study, [2.0, 2.0, 2.0]).images, theirs.numpy(), atol=1e-4)


def test_masks_agree_with_simpleitk_to_the_nearest_and_hold_no_new_label() -> None:
    import SimpleITK

    labels = np.random.default_rng(0).choice([0, 1, 2, 4], (9, 20, 16)).astype(np.uint8)
    study = study_of(smooth(labels.shape), labels=labels, organ=(labels > 0).astype(np.uint8), inside=labels != 1)
    resampled = resample(study, [1.3, 1.9, 0.6])
    image = SimpleITK.GetImageFromArray(labels)
    grid = SimpleITK.ResampleImageFilter()
    grid.SetSize([int(n) for n in resampled.labels.shape[::-1]])
    grid.SetOutputSpacing([0.6, 1.9, 1.3])
    grid.SetInterpolator(SimpleITK.sitkNearestNeighbor)
    grid.UseNearestNeighborExtrapolatorOn()
    np.testing.assert_array_equal(resampled.labels, SimpleITK.GetArrayFromImage(grid.Execute(image)))
    np.testing.assert_array_equal(resampled.organ, resampled.labels > 0)
    np.testing.assert_array_equal(resampled.inside, resampled.labels != 1)


def test_an_axis_of_0_is_kept_and_the_slices_know_their_height_and_class() -> None:
    stated = np.arange(10) >= 5
    study = study_of(smooth((10, 8, 8)), spacing=(1.0, 0.7, 0.6), stated=stated)
    resampled = resample(study, [2.0, 0, 0])
    assert resampled.spacing == (2.0, 0.7, 0.6)
    np.testing.assert_array_equal(resampled.images, study.images[:, ::2])
    assert resampled.height.tolist() == [0, 2, 4, 6, 8]
    assert resampled.stated is not None
    assert resampled.stated.tolist() == [False, False, False, True, True]
    assert resample(study, [1.0, 0, 0]) is study


def test_a_spacing_that_would_fill_the_memory_is_refused() -> None:
    with pytest.raises(BadStudyError, match="too large"):
        resample(study_of(smooth((10, 8, 8))), [0.001, 0.001, 0.001])
