"""One plain 2D image file, opened within bounds: its pixels upright, its transparency apart, its grey values."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from common.errors import BadStudyError
from common.imaging.remarks import Remark

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
_FORMATS = ("PNG", "JPEG", "TIFF", "BMP")
_MOST_PIXELS = 2**26
"""64 million; a mammogram has 20."""

TURNED = Remark("guess", "turned as its EXIF orientation says")
_TRANSPARENT = Remark("guess", "transparent pixels taken as black")
_COLOURED = Remark("guess", "colours taken as grey values")
_TWO_VALUES = Remark("guess", "an image of two values, as a mask has")

_WHITE = {"1": 1.0, "L": 255.0, "I;16": 65535.0, "I;16B": 65535.0, "I;16L": 65535.0, "I;16N": 65535.0}
_NUMBERS = (*_WHITE, "I", "F")
_COLOURS = ("RGB", "RGBX", "CMYK", "YCbCr")
_WITH_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")
_ORIENTATION, _PHOTOMETRIC, _BITS, _SAMPLE_FORMAT = 274, 262, 258, 339
_COLOUR_SPREAD = 24
"""Levels of 255 by which channels of a grey image may differ, as JPEG stores it."""


@dataclass(frozen=True)
class Pixels:
    """What a file holds, upright.

    Attributes:
        values: (Y, X) numbers or indexes of ``palette``, or (Y, X, 3) red, green and blue of 0 to 255.
        white: the number of white; None where nothing says it.
        palette: (256, 3) colours, where ``values`` are indexes.
        opacity: (Y, X) from 0 to 1; None where nothing is transparent.
        turned: whether the file's EXIF orientation had it turned or flipped.
        lossy: whether it was compressed with loss, so that a flat area is flat no longer.
    """

    values: npt.NDArray[Any]
    white: float | None
    palette: npt.NDArray[np.uint8] | None
    opacity: npt.NDArray[np.float32] | None
    turned: bool
    lossy: bool


def open_pixels(path: Path) -> Pixels:
    """The pixels of one image file.

    Raises:
        BadStudyError: it is damaged, no image of a format that is read, too large, holds several images, or pixels of
            which a part would be lost.
    """
    try:
        # By name, because Pillow would hand a file that begins as PostScript to its interpreter, whatever it is called.
        # As a stream, because Pillow 13 maps an uncompressed TIFF by its path and shears it if it is to be turned.
        with path.open("rb") as stream, Image.open(stream, formats=_FORMATS) as image:
            if image.width * image.height > _MOST_PIXELS:
                raise BadStudyError(f"{path.name}: {image.width}x{image.height} pixels are more than a slice has")
            frames = getattr(image, "n_frames", 1)
            if frames > 1:
                raise BadStudyError(f"{path.name}: holds {frames} images, expected one; save each page as a file")
            return _pixels(image, path.name)
    except (BadStudyError, ImportError):  # A package that is missing is no damaged file.
        raise
    except Exception as error:  # A damaged file makes Pillow's decoders raise nearly anything.
        raise BadStudyError(f"{path.name}: cannot be read, the file is damaged or no image") from error


def grey_image(path: Path) -> tuple[npt.NDArray[np.float32], float | None, tuple[Remark, ...]]:
    """(Y, X) grey values of one image, what white is, and what was read on a guess.

    Colours are weighed as in ITU-R 601; what is transparent becomes black.

    Raises:
        BadStudyError: as :func:`open_pixels`, it holds NaN, or it shows nothing.
    """
    pixels = open_pixels(path)
    remarks = [TURNED] if pixels.turned else []
    values = pixels.values if pixels.palette is None else pixels.palette[pixels.values]
    if values.ndim == 3:
        spread = np.ptp(values, axis=2)
        if (spread > _COLOUR_SPREAD).mean() > 0.01:
            remarks.append(_COLOURED)
        values = luma(values)
    grey = values.astype(np.float32)
    if pixels.opacity is not None:
        remarks.append(_TRANSPARENT)
        grey = grey * pixels.opacity
        if not pixels.opacity.any():
            raise BadStudyError(f"{path.name}: every pixel is transparent; save it without transparency")
    if not np.isfinite(grey).all():
        raise BadStudyError(f"{path.name}: holds values that are NaN or infinite")
    low, high = grey.min(), grey.max()
    if low == high:
        raise BadStudyError(f"{path.name}: image is empty, every pixel has the same value")
    if ((grey == low) | (grey == high)).all():
        remarks.append(_TWO_VALUES)
    return grey, pixels.white, tuple(remarks)


def luma(colours: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """(Y, X) grey values 0 to 255 of (Y, X, 3) colours, rounded as Pillow does it.

    >>> luma(np.array([[[100, 200, 50], [7, 7, 7]]]))
    array([[153,   7]], dtype=uint8)

    Source: ITU-R BT.601.
    """
    red, green, blue = np.moveaxis(colours.astype(np.uint32), 2, 0)
    return np.asarray((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16, dtype=np.uint8)


def _pixels(image: Image.Image, name: str) -> Pixels:
    tags: Any = getattr(image, "tag_v2", {})
    tiles: Any = getattr(image, "tile", ())
    arguments = tiles[0][3] if tiles else ""
    stored = arguments if isinstance(arguments, str) else str(arguments[0])
    if ";16" in stored and image.mode not in _NUMBERS:
        raise BadStudyError(
            f"{name}: has 16 bits a colour, of which 8 would be lost; save it as 16-bit grey without transparency"
        )
    signed = 2 in tuple(tags.get(_SAMPLE_FORMAT, ()))
    if image.mode not in (*_NUMBERS, *_COLOURS, *_WITH_ALPHA, "P") or (signed and image.mode == "L"):
        kind = "8 bits with a sign" if image.mode == "L" else image.mode
        raise BadStudyError(f"{name}: pixels of kind {kind} are not read; save it as 8- or 16-bit grey")
    white = 4095.0 if stored == "I;12" else _WHITE.get(image.mode, None if image.mode in _NUMBERS else 255.0)
    # Asked for before it is loaded: then Pillow turns a TIFF by itself, and forgets the tag.
    turned = image.getexif().get(_ORIENTATION, 1) in range(2, 9)
    image.load()
    lossy = image.format in ("JPEG", "MPO") or "jpeg" in str(image.info.get("compression", ""))
    upright: Image.Image = ImageOps.exif_transpose(image)
    values, palette, opacity = _planes(upright)
    if tags.get(_PHOTOMETRIC) == 0 and image.mode.startswith("I;16"):  # Pillow inverts 1 and 8 bits alone.
        values = (white or 65535.0) - values.astype(np.float32)
    if image.mode == "I" and tuple(tags.get(_BITS, ())) == (32,) and not signed:  # Pillow gives them a sign.
        values = values.astype(np.int32).view(np.uint32)
    if opacity is not None and (opacity == 1).all():
        opacity = None
    return Pixels(values, white, palette, opacity, turned, lossy)


def _planes(
    image: Image.Image,
) -> tuple[npt.NDArray[Any], npt.NDArray[np.uint8] | None, npt.NDArray[np.float32] | None]:
    """Values, palette and opacity as :class:`Pixels` has them."""
    clear = image.info.get("transparency")
    if image.mode == "P":
        flat = image.getpalette("RGB") or []
        palette = np.zeros(768, np.uint8)
        palette[: len(flat)] = flat
        opacity = None if clear is None else _alpha(image)
        return np.asarray(image), palette.reshape(256, 3), opacity
    if image.mode in _NUMBERS:
        values = np.asarray(image)
        clear = clear if image.mode != "1" or clear is None else clear > 0
        return values, None, None if clear is None else np.asarray(values != clear, dtype=np.float32)
    if image.mode in ("LA", "La"):
        both = image.convert("LA") if image.mode == "La" else image
        return np.asarray(both)[..., 0], None, _alpha(image)
    if image.mode in _WITH_ALPHA or clear is not None:
        return np.asarray(image.convert("RGBA"))[..., :3], None, _alpha(image)
    return np.asarray(image.convert("RGB")), None, None


def _alpha(image: Image.Image) -> npt.NDArray[np.float32]:
    return np.asarray(image.convert("RGBA").getchannel("A"), dtype=np.float32) / np.float32(255)
