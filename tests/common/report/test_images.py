"""Pictures keep every pixel, and outlines show exactly what counted as lesion."""

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.report.images import file_data_uri, lesion_outline, picture, png_data_uri


def decoded(uri: str) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    assert uri.startswith("data:image/png;base64,")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def test_a_small_slice_is_enlarged_by_repeating_its_pixels() -> None:
    image = np.random.default_rng(1).random((64, 64)).astype(np.float32)
    shown = decoded(png_data_uri(image))
    assert shown.shape == (192, 192)
    np.testing.assert_array_equal(shown, np.kron((image * 255).round(), np.ones((3, 3))))


def test_a_large_slice_is_left_as_it_is() -> None:
    assert decoded(png_data_uri(np.zeros((256, 200), dtype=np.float16))).shape == (256, 200)


def test_values_outside_the_range_are_clipped_and_nan_is_black() -> None:
    shown = decoded(png_data_uri(np.array([[-1.0, 0.5], [2.0, np.nan]]), least=1))
    np.testing.assert_array_equal(shown, [[0, 128], [255, 0]])


def test_only_single_slices_are_pictures() -> None:
    with pytest.raises(ValueError, match=r"\(H, W\)"):
        png_data_uri(np.zeros((1, 8, 8)))


def test_the_outline_runs_along_every_edge_between_lesion_and_not() -> None:
    labels = np.random.default_rng(2).choice([0, 1, 2, 3, 4], size=(9, 7)).astype(np.uint8)
    mask = np.pad(np.isin(labels, (1, 2, 4)), 1)
    edges = sum(
        mask[y, x] != mask[y + dy, x + dx]
        for dy, dx in ((1, 0), (0, 1))
        for y in range(mask.shape[0] - dy)
        for x in range(mask.shape[1] - dx)
    )
    assert sum(map(int, re.findall(r"[hv](\d+)", lesion_outline(labels)))) == edges


def test_a_healthy_slice_has_no_outline() -> None:
    assert picture(np.zeros((8, 8)), "healthy", labels=np.full((8, 8), 3, dtype=np.uint8)).outline == ""


def test_a_wide_sheet_is_made_smaller(tmp_path: Path) -> None:
    Image.new("RGBA", (400, 100)).save(tmp_path / "sheet.png")
    assert decoded(file_data_uri(tmp_path / "sheet.png", widest=200)).shape == (50, 200, 3)
