import numpy as np
import pytest
from phantoms import brain

from common.errors import BadStudyError, ConfigError
from common.imaging.steps.intensity import window, z_score


def test_z_score_agrees_with_monai_inside_and_has_mean_0_and_deviation_1() -> None:
    from monai.transforms import NormalizeIntensity

    image = brain()
    inside = image > 0
    ours = z_score(image, inside)
    theirs = np.asarray(NormalizeIntensity(nonzero=True)(image[None]))[0]
    np.testing.assert_allclose(ours[inside], theirs[inside], atol=1e-4)
    assert ours[inside].mean() == pytest.approx(0, abs=1e-4)
    assert ours[inside].std() == pytest.approx(1, abs=1e-4)


def test_z_score_and_window_write_where_they_are_told_and_leave_the_image_as_it_is() -> None:
    image = brain()
    before, out = image.copy(), np.empty_like(image)
    expected = window(z_score(image, image > 0), [-2.5, 4.5])
    assert window(z_score(image, image > 0, out), [-2.5, 4.5], out) is out
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e30])
def test_z_scores_do_not_depend_on_the_size_of_the_values(scale: float) -> None:
    image = (np.random.default_rng(0).normal(3, 1, (5, 40, 40)) * scale).astype(np.float32)
    scored = z_score(image, np.ones(image.shape, bool))
    assert scored.std(dtype=np.float64) == pytest.approx(1, abs=1e-4)


def test_a_constant_foreground_is_refused() -> None:
    with pytest.raises(BadStudyError, match="same value"):
        z_score(np.full((2, 4, 4), 7, np.float32), np.ones((2, 4, 4), bool))


def test_window_agrees_with_monai() -> None:
    from monai.transforms import ScaleIntensityRange

    values = np.random.default_rng(0).normal(0, 3, (50, 50)).astype(np.float32)
    theirs = ScaleIntensityRange(a_min=-2.5, a_max=4.5, b_min=0, b_max=1, clip=True)(values)
    np.testing.assert_allclose(window(values, [-2.5, 4.5]), np.asarray(theirs), atol=1e-6)


@pytest.mark.parametrize("limits", [[1.0, 1.0], [2.0, 1.0], [1.0], [float("nan"), 1.0]])
def test_a_window_that_is_none_is_refused(limits) -> None:
    with pytest.raises(ConfigError, match="two ascending numbers"):
        window(np.zeros(3, np.float32), limits)
