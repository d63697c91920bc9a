import numpy as np
import pytest
from phantoms import brain, ellipse

from common.errors import BadStudyError
from common.imaging.steps.bias_field import correct_bias_field


@pytest.mark.parametrize("shape", [(16, 48, 48), (1, 48, 48)])
def test_bias_field_correction_takes_out_a_planted_field(shape: tuple[int, int, int]) -> None:
    inside = ellipse(shape)
    _, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    field = np.exp(0.35 * x - 0.25 * y)
    flat = np.where(inside, np.random.default_rng(0).normal(300, 6, shape), 0)
    corrected = correct_bias_field((flat * field).astype(np.float32), inside)
    assert corrected.dtype == np.float32
    spread_before = (flat * field)[inside].std() / (flat * field)[inside].mean()
    spread_after = corrected[inside].std() / corrected[inside].mean()
    assert spread_before > 0.15
    assert spread_after < 0.4 * spread_before
    assert corrected[~inside].max() == 0


def test_bias_field_correction_agrees_with_n4_at_full_resolution() -> None:
    import SimpleITK

    shape = (12, 40, 40)
    inside = ellipse(shape)
    x = np.linspace(-1, 1, 40)[None, None, :]
    shaded = np.where(inside, np.random.default_rng(0).normal(300, 6, shape) * np.exp(0.3 * x), 0).astype(np.float32)
    full = SimpleITK.N4BiasFieldCorrection(
        SimpleITK.GetImageFromArray(shaded), SimpleITK.GetImageFromArray(inside.astype(np.uint8)), 0.001, [20] * 4
    )
    reference = SimpleITK.GetArrayFromImage(full)
    ours = correct_bias_field(shaded, inside)
    ratio = ours[inside] / reference[inside]
    assert (ratio / ratio.mean()).std() < 0.03


def test_a_study_too_thin_for_a_bias_field_is_refused() -> None:
    thin = brain((8, 1, 40)) + 300
    with pytest.raises(BadStudyError, match="no bias field"):
        correct_bias_field(thin, np.ones(thin.shape, bool))
