"""What becomes of one 2D image: bits, colours, transparency and orientation as cameras and viewers write them."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.errors import BadStudyError
from common.imaging.readers.flat_image import grey_image

PIXELS = np.arange(30, dtype=np.uint8).reshape(5, 6) * 8
TURNS = {
    2: PIXELS[:, ::-1], 3: PIXELS[::-1, ::-1], 4: PIXELS[::-1], 5: PIXELS.T, 6: np.rot90(PIXELS, -1),
    7: PIXELS[::-1, ::-1].T, 8: np.rot90(PIXELS),
}  # fmt: skip
"""EXIF's orientations, by the definition of its tag 274."""


def read(path: Path) -> tuple[np.ndarray, list[str]]:
    values, _, remarks = grey_image(path)
    return values, [remark.what for remark in remarks]


@pytest.mark.parametrize("number", list(TURNS))
@pytest.mark.parametrize("name", ["a.png", "a.tif", "packed.tif", "a.jpg"])
def test_an_image_is_turned_as_its_exif_says_and_that_is_told(tmp_path: Path, number: int, name: str) -> None:
    exif = Image.Exif()
    exif[274] = number
    options = {"compression": "tiff_lzw"} if name == "packed.tif" else {}
    Image.fromarray(PIXELS).save(tmp_path / name, exif=exif, **options, **({"quality": 100} if "jpg" in name else {}))
    values, told = read(tmp_path / name)
    np.testing.assert_allclose(values, TURNS[number], atol=4 if "jpg" in name else 0)
    assert told == ["turned as its EXIF orientation says"]


def test_an_upright_image_is_left_alone(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 1
    Image.fromarray(PIXELS).save(tmp_path / "a.png", exif=exif)
    values, told = read(tmp_path / "a.png")
    np.testing.assert_array_equal(values, PIXELS)
    assert told == []


def test_transparent_pixels_become_black_whatever_lies_below(tmp_path: Path) -> None:
    seen = PIXELS > 80
    alpha = np.where(seen, 255, 0).astype(np.uint8)
    below = np.where(seen, PIXELS, 255).astype(np.uint8)
    images = {
        "la": Image.fromarray(np.dstack([below, alpha])),
        "rgba": Image.fromarray(np.dstack([below] * 3 + [alpha])),
    }
    for name, image in images.items():
        image.save(tmp_path / f"{name}.png")
        values, told = read(tmp_path / f"{name}.png")
        np.testing.assert_array_equal(values, np.where(seen, PIXELS, 0))
        assert told == ["transparent pixels taken as black"]


@pytest.mark.parametrize("mode", ["L", "P", "RGB", "I;16"])
def test_a_transparent_colour_becomes_black(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(PIXELS.astype(np.uint16)) if mode == "I;16" else Image.fromarray(PIXELS).convert(mode)
    clear: object = (232, 232, 232) if mode == "RGB" else 232 if mode != "P" else image.getpixel((5, 4))
    if mode == "I;16":
        head, rest = png(PIXELS.astype(">u2")[..., None], 0)
        (tmp_path / "a.png").write_bytes(head + chunk(b"tRNS", struct.pack(">H", 232)) + rest)
    else:
        image.save(tmp_path / "a.png", transparency=clear)
    values, told = read(tmp_path / "a.png")
    assert values[4, 5] == 0
    assert values[4, 4] == pytest.approx(224, abs=30 if mode == "P" else 0)
    assert told == ["transparent pixels taken as black"]


def test_full_opacity_is_not_worth_a_word_and_full_transparency_is_refused(tmp_path: Path) -> None:
    for alpha in (255, 0):
        Image.fromarray(np.dstack([PIXELS] * 3 + [np.full_like(PIXELS, alpha)])).save(tmp_path / f"{alpha}.png")
    values, told = read(tmp_path / "255.png")
    np.testing.assert_array_equal(values, PIXELS)
    assert told == []
    with pytest.raises(BadStudyError, match="every pixel is transparent"):
        read(tmp_path / "0.png")


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(values: np.ndarray, kind: int) -> tuple[bytes, bytes]:
    """A PNG of 16 bits, in two parts between which other chunks may stand."""
    height, width = values.shape[:2]
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0))
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return b"\x89PNG\r\n\x1a\n" + header, chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("kind", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_sixteen_bits_a_colour_are_refused_because_eight_would_be_lost(
    tmp_path: Path, kind: int, channels: int
) -> None:
    (tmp_path / "a.png").write_bytes(
        b"".join(png(np.repeat(PIXELS[..., None].astype(np.uint16) * 16, channels, 2), kind))
    )
    with pytest.raises(BadStudyError, match="16 bits a colour, of which 8 would be lost"):
        read(tmp_path / "a.png")


def tiff(path: Path, values: np.ndarray, *, big: bool = False, photometric: int = 1, sample_format: int = 1) -> Path:
    """An uncompressed grey TIFF, written by hand: Pillow writes no big-endian, inverted or signed one."""
    order = ">" if big else "<"
    data = values.astype(values.dtype.newbyteorder(order)).tobytes()
    bits = values.dtype.itemsize * 8
    tags = [(256, values.shape[1]), (257, values.shape[0]), (258, bits), (259, 1), (262, photometric), (273, 8),
            (277, 1), (278, values.shape[0]), (279, len(data)), (339, sample_format)]  # fmt: skip
    directory = struct.pack(f"{order}H", len(tags))
    for tag, value in tags:
        directory += struct.pack(f"{order}HHII", tag, 4, 1, value)
    start = 8 + len(data)
    head = (b"MM" if big else b"II") + struct.pack(f"{order}HI", 42, start)
    path.write_bytes(head + data + directory + struct.pack(f"{order}I", 0))
    return path


def test_a_tiff_of_any_number_keeps_its_values(tmp_path: Path) -> None:
    deep = PIXELS.astype(np.uint16) * 250
    np.testing.assert_array_equal(read(tiff(tmp_path / "a.tif", deep, big=True))[0], deep)
    np.testing.assert_array_equal(read(tiff(tmp_path / "b.tif", deep, photometric=0))[0], 65535.0 - deep)
    np.testing.assert_array_equal(read(tiff(tmp_path / "c.tif", PIXELS, photometric=0))[0], 255.0 - PIXELS)
    hounsfield = PIXELS.astype(np.int16) - 100
    np.testing.assert_array_equal(read(tiff(tmp_path / "d.tif", hounsfield, sample_format=2))[0], hounsfield)
    huge = PIXELS.astype(np.uint32) * 17_000_000
    np.testing.assert_array_equal(read(tiff(tmp_path / "e.tif", huge))[0], huge.astype(np.float32))
    fine = (PIXELS / 255).astype(np.float32)
    np.testing.assert_array_equal(read(tiff(tmp_path / "f.tif", fine, sample_format=3))[0], fine)
    with pytest.raises(BadStudyError, match="8 bits with a sign are not read"):
        read(tiff(tmp_path / "g.tif", PIXELS.astype(np.int8), sample_format=2))


def test_colours_are_weighed_as_the_eye_does_and_told(tmp_path: Path) -> None:
    colours = np.dstack([PIXELS, PIXELS[::-1], PIXELS // 2])
    Image.fromarray(colours).save(tmp_path / "a.bmp")
    values, told = read(tmp_path / "a.bmp")
    np.testing.assert_allclose(values, colours @ np.array([0.299, 0.587, 0.114]), atol=1)
    assert told == ["colours taken as grey values"]
    Image.fromarray(np.dstack([PIXELS] * 3)).convert("CMYK").save(tmp_path / "b.tif")
    values, told = read(tmp_path / "b.tif")
    np.testing.assert_array_equal(values, PIXELS)
    assert told == []


def test_kinds_of_pixels_that_are_not_read_say_so(tmp_path: Path) -> None:
    Image.new("LAB", (8, 8)).save(tmp_path / "a.tif")
    with pytest.raises(BadStudyError, match="pixels of kind LAB are not read"):
        read(tmp_path / "a.tif")


def test_an_image_of_two_values_is_told_as_a_mask_may_be_taken_for_one(tmp_path: Path) -> None:
    Image.fromarray(np.where(PIXELS > 90, 255, 0).astype(np.uint8)).save(tmp_path / "a.png")
    assert read(tmp_path / "a.png")[1] == ["an image of two values, as a mask has"]
