"""Where a map is zero the slice is what it was; where it is strongest, the colour is bright and warm."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from client.report.heat import heat_picture, heat_scale


def pixels(source: str) -> np.ndarray:
    content = base64.b64decode(source.removeprefix("data:image/png;base64,"))
    return np.asarray(Image.open(io.BytesIO(content)), dtype=float)


def test_a_slice_without_a_map_stays_grey_and_as_it_was() -> None:
    image = np.random.default_rng(0).random((16, 16))
    made = heat_picture(image, np.zeros((16, 16)), "a slice")
    found = pixels(made.source)
    assert found.shape == (192, 192, 3)
    np.testing.assert_array_equal(found[::12, ::12, 0], (image * 255).round())
    assert (found[..., 0] == found[..., 1]).all()
    assert (made.width, made.height, made.outline) == (16, 16, "")


def test_a_stronger_map_is_warmer_and_never_darker() -> None:
    heat = np.tile(np.linspace(0, 1, 256), (4, 1))
    for grey in (0.0, 0.3):
        found = pixels(heat_picture(np.full((4, 256), grey), heat, "a", least=4).source)[0]
        luminance = found @ [0.2126, 0.7152, 0.0722]
        assert (np.diff(luminance) >= -1).all()
        assert found[-1, 0] - found[-1, 2] > 80


def test_the_lesion_is_outlined_and_what_is_no_number_is_black() -> None:
    image = np.full((8, 8), np.nan)
    labels = np.zeros((8, 8), np.uint8)
    labels[2, 3] = 4
    made = heat_picture(image, np.full((8, 8), np.nan), "a", "with map", labels)
    assert made.outline == "M3 2h1M3 3h1M3 2v1M4 2v1"
    assert pixels(made.source).max() == 0


def test_a_map_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="a map of its size"):
        heat_picture(np.zeros((8, 8)), np.zeros((4, 4)), "a")


def test_the_scale_runs_from_grey_to_the_strongest_colour() -> None:
    scale = pixels(heat_scale())
    assert scale.shape == (12, 160, 3)
    assert np.ptp(scale[0, 0]) == 0
    np.testing.assert_array_equal(
        scale[0, -1], pixels(heat_picture(*[np.array([[v]]) for v in (0.5, 1.0)], "a").source)[0, 0]
    )
