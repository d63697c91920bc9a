"""What becomes lesion of a 2D mask, of whatever values, colours, compression and size."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from common.errors import BadStudyError, ConfigError
from common.imaging.readers.flat_mask import MaskReading, read_mask
from common.imaging.readers.mask_values import MaskValues

SIDE = 96
Y, X = np.mgrid[:SIDE, :SIDE]


def disc(radius: float, x: float = 45, y: float = 40) -> npt.NDArray[np.bool_]:
    return np.asarray((X - x) ** 2 + (Y - y) ** 2 < radius**2)


ORGAN, TUMOUR, CORE = disc(34), disc(14), disc(7)
TEN = np.zeros((SIDE, SIDE), bool)
TEN[40:42, 33:38] = True
RIM = disc(16) & ~TUMOUR
LINE = np.zeros((SIDE, SIDE), bool)
LINE[85, 20:60] = True
THREE = np.where(TUMOUR, 2, np.where(ORGAN, 1, 0))
RED_IN_BLUE = np.where(TUMOUR[..., None], (255, 0, 0), np.where(ORGAN[..., None], (0, 0, 255), 0))


def grey(values: npt.NDArray[Any]) -> Image.Image:
    return Image.fromarray(np.asarray(values, np.uint8))


def white(mask: npt.NDArray[np.bool_]) -> Image.Image:
    return grey(mask * 255)


def palette(indexes: npt.NDArray[Any], *colours: tuple[int, int, int]) -> Image.Image:
    image = Image.frombytes("P", (SIDE, SIDE), np.asarray(indexes, np.uint8).tobytes())
    image.putpalette([level for colour in colours for level in colour])
    return image


def read(
    folder: Path, image: Image.Image, tumour: Any = (), other: Any = (), suffix: str = "png", **save: Any
) -> MaskReading:
    path = folder / f"x_mask.{suffix}"
    image.save(path, **save)
    return read_mask(path, image.size[::-1], MaskValues.of(tumour, other))


def lesion(folder: Path, image: Image.Image, tumour: Any = (), other: Any = (), **how: Any) -> npt.NDArray[np.bool_]:
    return read(folder, image, tumour, other, **how).lesion


@pytest.mark.parametrize("mask", [disc(30), disc(14), disc(3), TEN, TUMOUR | disc(2, 80, 80)])
@pytest.mark.parametrize("quality", [50, 60, 75, 90, 95, 100])
def test_a_mask_of_two_values_survives_jpeg(tmp_path: Path, mask: npt.NDArray[np.bool_], quality: int) -> None:
    np.testing.assert_array_equal(lesion(tmp_path, white(mask), suffix="jpg", quality=quality), mask)
    again = Image.fromarray(np.asarray(Image.open(tmp_path / "x_mask.jpg")))
    np.testing.assert_array_equal(lesion(tmp_path, again), mask)
    bgr = Image.merge("RGB", [white(mask)] * 3)
    np.testing.assert_array_equal(lesion(tmp_path, bgr, suffix="jpg", quality=quality), mask)


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 255, 0), (255, 255, 0), (0, 128, 0)])
@pytest.mark.parametrize("mask", [disc(14), TEN])
def test_one_colour_survives_jpeg_to_a_few_per_cent(tmp_path: Path, colour: Any, mask: Any) -> None:
    for quality in (60, 75, 90):
        image = grey(mask[..., None] * np.array(colour))
        found = lesion(tmp_path, image, suffix="jpg", quality=quality)
        assert np.count_nonzero(found != mask) <= 0.05 * mask.sum()


@pytest.mark.parametrize("factor", [0.5, 0.75, 2, 4, 8])
@pytest.mark.parametrize("how", [Image.Resampling.BILINEAR, Image.Resampling.BICUBIC])
@pytest.mark.parametrize(
    "mask", [disc(14), disc(14) | disc(2, 80, 80), np.asarray((abs(X - 50) < 12) & (abs(Y - 40) < 9))]
)
def test_a_resampled_mask_keeps_its_size(tmp_path: Path, factor: float, how: Image.Resampling, mask: Any) -> None:
    side = int(SIDE * factor)
    found = lesion(tmp_path, white(mask).resize((side, side), how))
    assert found.sum() == pytest.approx(mask.sum() * factor**2, rel=0.08)


def test_ten_pixels_are_found_in_a_resampled_mask(tmp_path: Path) -> None:
    for side in (2 * SIDE, 3 * SIDE):
        found = lesion(tmp_path, white(TEN).resize((side, side), Image.Resampling.BILINEAR))
        assert found.sum() == pytest.approx(10 * (side / SIDE) ** 2, rel=0.05)


@pytest.mark.parametrize(
    ("image", "suffix"),
    [
        (grey(TUMOUR * 1), "png"),
        (grey(TUMOUR * 2), "bmp"),
        (Image.fromarray(TUMOUR), "png"),
        (Image.fromarray(TUMOUR.astype(np.uint16) * 60_000), "png"),
        (Image.fromarray(TUMOUR.astype(np.int32)), "tif"),
        (Image.fromarray(TUMOUR.astype(np.float32)), "tif"),
        (palette(TUMOUR, (0, 0, 0), (128, 0, 0)), "png"),
        (palette(TUMOUR, (0, 0, 0), (0, 0, 0)), "png"),
        (palette(~TUMOUR, (255, 255, 255), (0, 0, 0)), "png"),
        (grey(np.dstack([TUMOUR * 255, TUMOUR * 0 + 255])), "png"),
        (grey(np.dstack([TUMOUR * 255, TUMOUR * 0, TUMOUR * 0, TUMOUR * 255])), "png"),
        (Image.merge("RGB", [white(TUMOUR)] * 3).convert("CMYK"), "tif"),
    ],
)
def test_a_mask_of_two_values_is_read_from_any_kind_of_pixel(tmp_path: Path, image: Image.Image, suffix: str) -> None:
    np.testing.assert_array_equal(lesion(tmp_path, image, suffix=suffix), TUMOUR)


@pytest.mark.parametrize(
    ("image", "named"),
    [
        (grey(THREE), ["0 (", "1 (", "2 (6.6", "tumour_values: [2]", "other_values"]),
        (grey(np.where(TUMOUR, 255, np.where(ORGAN, 127, 0))), ["127 (", "tumour_values: [255]"]),
        (grey(np.where(TUMOUR, 255, np.where(ORGAN, 128, 0))), ["128 ("]),
        (grey(np.where(CORE, 4, np.where(TUMOUR, 1, 0))), ["1 (", "4 ("]),
        (grey(np.where(CORE, 255, np.where(TUMOUR, 64, 0))), ["64 ("]),
        (grey(np.where(CORE, 255, np.where(TUMOUR, 1, 0))), ["1 ("]),
        (grey(np.where(CORE, 255, np.where(TUMOUR, 20, 0))), ["20 ("]),
        (grey(np.where(CORE, 255, np.where(TUMOUR, 240, 0))), ["240 ("]),
        (grey(np.where(TUMOUR, 255, np.where(RIM, 127, 0))), ["127 ("]),
        (grey(np.where(TUMOUR, 255, np.where(LINE, 127, 0))), ["127 ("]),
        (grey(np.where(TUMOUR, 255, 100)), ["100 (", "255 ("]),
        (grey(RED_IN_BLUE), ["#0000ff (", '"#ff0000"']),
        (grey(np.where(TEN[..., None], (255, 0, 0), np.where(ORGAN[..., None], (0, 0, 255), 0))), ["#ff0000 (0.11%"]),
        (palette(THREE, (0, 0, 0), (128, 0, 0), (0, 128, 0)), ["1 (#800000) (", "tumour_values: [2]"]),
        (Image.fromarray(THREE.astype(np.uint16)), ["2 ("]),
        (grey(np.full((SIDE, SIDE), 255)), ["nothing but 255", "tumour_values: [255]"]),
    ],
)
def test_a_mask_of_several_values_is_refused_with_the_values_and_the_option(
    tmp_path: Path, image: Image.Image, named: list[str]
) -> None:
    with pytest.raises(BadStudyError) as refusal:
        read(tmp_path, image)
    assert [part for part in named if part not in refusal.value.reason] == []


@pytest.mark.parametrize("quality", [50, 75, 95])
def test_several_values_are_seen_through_jpeg(tmp_path: Path, quality: int) -> None:
    images = {"127": grey(np.where(TUMOUR, 255, np.where(ORGAN, 127, 0))), "#0000f": grey(RED_IN_BLUE)}
    images["255"] = grey(np.where(TUMOUR, 255, np.where(LINE, 127, 0)))
    for name, image in images.items():
        with pytest.raises(BadStudyError, match="say which are tumour") as refusal:
            read(tmp_path, image, suffix="jpg", quality=quality)
        assert name[:2] in refusal.value.reason


@pytest.mark.parametrize(
    ("image", "tumour", "other", "true"),
    [
        (grey(THREE), [2], [1], TUMOUR),
        (grey(THREE), [1, 2], [], ORGAN),
        (grey(np.where(CORE, 255, np.where(TUMOUR, 64, 0))), [64, 127, 255], [], TUMOUR),
        (grey(np.where(CORE, 255, np.where(TUMOUR, 20, 0))), ["20", 255], [], TUMOUR),
        (grey(RED_IN_BLUE), ["#ff0000"], [[0, 0, 255]], TUMOUR),
        (grey(RED_IN_BLUE), [[255, 0, 0]], ["#00f"], TUMOUR),
        (palette(THREE, (0, 0, 0), (128, 0, 0), (0, 128, 0)), [2], [1], TUMOUR),
        (palette(THREE, (0, 0, 0), (128, 0, 0), (0, 128, 0)), ["#008000"], ["#800000"], TUMOUR),
        (palette(THREE, (0, 0, 0), (85, 85, 85), (170, 170, 170)), [170], [85], TUMOUR),
        (palette(THREE, (0, 0, 0), (85, 85, 85), (170, 170, 170)), [2], [1], TUMOUR),
        (palette(THREE, (9, 9, 9), (255, 0, 0), (0, 255, 0)), ["#00ff00"], ["#ff0000", "#090909"], TUMOUR),
        (Image.fromarray(THREE.astype(np.float32)), [2], [1], TUMOUR),
        (white(~TUMOUR), [0], [255], TUMOUR),
        (grey(np.full((SIDE, SIDE), 255)), [255], [], np.ones((SIDE, SIDE), bool)),
        (white(TUMOUR), [255], [], TUMOUR),
    ],
)
def test_the_options_say_which_values_are_tumour(
    tmp_path: Path, image: Image.Image, tumour: Any, other: Any, true: npt.NDArray[np.bool_]
) -> None:
    reading = read(tmp_path, image, tumour, other, suffix="tif" if image.mode == "F" else "png")
    np.testing.assert_array_equal(reading.lesion, true)
    assert reading.unspoken == ()


@pytest.mark.parametrize("quality", [50, 75, 95])
def test_the_options_hold_for_a_jpeg_within_its_error(tmp_path: Path, quality: int) -> None:
    grades = grey(np.where(TUMOUR, 255, np.where(ORGAN, 127, 0)))
    for image, tumour, other in ((grades, [255], [127]), (grey(RED_IN_BLUE), ["#ff0000"], ["#0000ff"])):
        reading = read(tmp_path, image, tumour, other, suffix="jpg", quality=quality)
        assert np.count_nonzero(reading.lesion != TUMOUR) <= 0.05 * TUMOUR.sum()
        assert reading.unspoken == ()


def test_a_value_in_no_option_is_reported_and_is_no_tumour(tmp_path: Path) -> None:
    reading = read(tmp_path, grey(THREE), [2])
    assert reading.unspoken == ("1",)
    np.testing.assert_array_equal(reading.lesion, TUMOUR)
    reading = read(tmp_path, grey(RED_IN_BLUE), ["#00ff00"])
    assert reading.unspoken == ("#0000ff", "#ff0000")
    assert not reading.lesion.any()
    assert read(tmp_path, grey(np.where(X == 40, 3, 0)), [2]).unspoken == ("3",)


def test_an_atlas_of_many_labels_is_compared_exactly(tmp_path: Path) -> None:
    atlas = np.zeros((SIDE, SIDE), np.uint8)
    for number in range(20):
        row, column = divmod(number, 5)
        atlas[row * 22 + 2 : row * 22 + 18, column * 18 + 2 : column * 18 + 16] = number + 1
    reading = read(tmp_path, grey(atlas), [19], list(range(1, 19)))
    np.testing.assert_array_equal(reading.lesion, atlas == 19)
    assert reading.unspoken == ("20",)


def test_an_inverted_mask_is_refused_and_a_large_tumour_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadStudyError, match=r"in its corners.*tumour_values: \[0\] and other_values: \[255\]"):
        read(tmp_path, white(~TUMOUR))
    reading = read(tmp_path, white(disc(45, 48, 48)))
    np.testing.assert_array_equal(reading.lesion, disc(45, 48, 48))
    assert [remark.what for remark in reading.remarks] == [
        "a mask that covers more than half of its image, taken as tumour all the same"
    ]


def test_one_value_that_is_not_white_is_told_because_it_may_be_an_organ(tmp_path: Path) -> None:
    told = [remark.what for remark in read(tmp_path, grey(ORGAN * 1)).remarks]
    assert told == ["1, the one value of a mask, taken as tumour"]
    assert read(tmp_path, white(TUMOUR)).remarks == ()
    assert read(tmp_path, grey(TUMOUR * 1), [1]).remarks == ()


def test_transparency_never_hides_a_tumour(tmp_path: Path) -> None:
    black = np.dstack([TUMOUR * 0] * 3 + [TUMOUR * 255])
    with pytest.raises(BadStudyError, match=r"black on a transparent background; set tumour_values: \[0\]"):
        read(tmp_path, grey(black))
    np.testing.assert_array_equal(lesion(tmp_path, grey(black), [0]), TUMOUR)
    with pytest.raises(BadStudyError, match="every pixel is transparent"):
        read(tmp_path, grey(np.dstack([TUMOUR * 255] * 3 + [TUMOUR * 0])))
    hidden = np.dstack([TUMOUR * 0 + 255] * 3 + [TUMOUR * 255])
    np.testing.assert_array_equal(lesion(tmp_path, grey(hidden)), TUMOUR)


def test_what_a_jpeg_cannot_keep_is_refused_and_black_is_empty(tmp_path: Path) -> None:
    with pytest.raises(BadStudyError, match=r"brightest value is [1-8], which compression does not keep"):
        read(tmp_path, grey(TUMOUR * 3), suffix="jpg", quality=95)
    for quality in (39, 50, 75):  # At 39 black comes back as 1.
        assert not lesion(tmp_path, grey(TUMOUR * 0), suffix="jpg", quality=quality).any()
    assert not lesion(tmp_path, grey(TUMOUR * 0)).any()


def test_a_soft_map_and_a_photograph_are_no_masks(tmp_path: Path) -> None:
    soft = np.exp(-((X - 45) ** 2 + (Y - 40) ** 2) / 800).astype(np.float32)
    photograph = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3))
    for image, suffix in ((Image.fromarray(soft), "tif"), (grey(photograph), "png")):
        with pytest.raises(BadStudyError, match=r"and \d+ more; say|say which are tumour"):
            read(tmp_path, image, suffix=suffix)
    with pytest.raises(BadStudyError, match="NaN"):
        read(tmp_path, Image.fromarray(np.where(TUMOUR, np.nan, 0).astype(np.float32)), suffix="tif")


@pytest.mark.parametrize(
    ("tumour", "other", "message"),
    [
        (2, (), "tumour_values is a list"),
        ("#ff0000", (), "tumour_values is a list"),
        ([None], (), "holds None"),
        ([True], (), "holds True"),
        (["red"], (), "holds 'red'"),
        ([[255, 0]], (), "holds"),
        ([[255, 0, 300]], (), "holds"),
        ([1, 2], [2], "both hold 2"),
        ((), [1], "give tumour_values too"),
    ],
)
def test_values_that_are_none_are_refused(tumour: Any, other: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MaskValues.of(tumour, other)
