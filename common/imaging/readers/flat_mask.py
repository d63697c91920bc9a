"""A 2D mask in an image file: which of its pixels are tumour, or which values nobody has spoken of."""

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from common.errors import BadStudyError
from common.imaging.readers.flat_image import TURNED, Pixels, luma, open_pixels
from common.imaging.readers.mask_classes import COLOUR_REACH, REACH, Planes, classes_of, coded, nearest, single_colour
from common.imaging.readers.mask_values import MaskValues, Value, named
from common.imaging.remarks import Remark

_GREY_SPREAD = 12
"""Levels by which the channels of a grey mask may differ, as JPEG stores it."""
_DARKEST_JPEG = 8
"""Levels that compression may add to black, or take from what is hardly brighter."""
_COLOUR_ERROR = 64
"""Levels that a colour of an option may differ from that of a JPEG."""
_MOST_NAMED = 8
_LARGE = Remark("guess", "a mask that covers more than half of its image, taken as tumour all the same")


@dataclass(frozen=True)
class MaskReading:
    """One mask.

    Attributes:
        lesion: (Y, X) bool.
        unspoken: values with an area that are neither black nor in an option, as ``site.yaml`` writes them.
    """

    lesion: npt.NDArray[np.bool_]
    unspoken: tuple[str, ...] = ()
    remarks: tuple[Remark, ...] = ()


@dataclass(frozen=True)
class _Drawn:
    """Values of a mask, black where it is transparent.

    Attributes:
        planes: (Y, X, C).
        palette: (N, 3) the colours of its indexes; ``indexed`` says that the values are those indexes.
        colour: (3,) where the mask is of one colour, and the values are its brightness.
    """

    planes: Planes
    lossy: bool
    palette: npt.NDArray[np.uint8] | None = None
    indexed: bool = False
    colour: Planes | None = None

    @property
    def is_coloured(self) -> bool:
        return self.colour is not None or self.planes.shape[2] == 3

    def about(self, value: Planes) -> str:
        """As ``site.yaml`` writes a value."""
        if self.colour is not None:
            value = np.clip(np.round(self.colour * value[0] / _brightness(self.colour)), 0, 255)
        return named(float(value[0]) if len(value) == 1 else (int(value[0]), int(value[1]), int(value[2])))

    def name(self, value: Planes) -> str:
        """For a person."""
        if self.palette is None or not self.indexed:
            return self.about(value)
        red, green, blue = self.palette[int(value[0])].tolist()
        return f"{self.about(value)} ({named((red, green, blue))})"

    def vectors(self, value: Value) -> Planes:
        """(N, C) what a value of an option is in this mask; N is 0 where it cannot occur."""
        channels = self.planes.shape[2]
        if self.colour is not None:
            if not isinstance(value, tuple):
                return np.empty((0, 1), np.float32)
            along = float(np.dot(value, self.colour) / np.dot(self.colour, self.colour))
            alike = along > 0 and np.abs(np.subtract(value, along * self.colour)).max() <= _COLOUR_ERROR
            return np.array([[along * _brightness(self.colour)]] if alike else np.empty((0, 1)), np.float32)
        if isinstance(value, tuple):
            if self.palette is not None and self.indexed:
                return np.flatnonzero((self.palette == value).all(axis=1)).astype(np.float32)[:, None]
            usable = channels == 3 or len(set(value)) == 1
            return np.array([value[:channels]] if usable else np.empty((0, channels)), np.float32)
        level = np.full((1, channels), value, np.float32)
        if self.palette is None or self.indexed or (self.palette[:, :channels] == level).all(axis=1).any():
            return level
        return self.palette[int(value) : int(value) + 1, :channels].astype(np.float32)


def read_mask(path: Path, shape: tuple[int, ...], values: MaskValues) -> MaskReading:
    """The tumour in one mask file.

    Without options a mask has two values, black and the tumour; edges that JPEG or resampling have blurred are cut at
    half of it. Where ``values`` names the tumour's, each pixel is of the nearest value that fills an area. A number is
    a grey value, or an index where the file has a palette of colours.

    Raises:
        BadStudyError: it cannot be read, has another size than its image (Y, X), or what is tumour in it cannot be
            told without ``tumour_values``.
    """
    pixels = open_pixels(path)
    found = pixels.values.shape[:2]
    if found != shape:
        turned = " after its EXIF orientation" if pixels.turned else ""
        raise BadStudyError(f"{path.name}: has {found[1]}x{found[0]} pixels{turned}, its image {shape[1]}x{shape[0]}")
    remarks = (TURNED,) if pixels.turned else ()
    stencil = _stencil(pixels, path.name)
    if stencil is not None:
        if not values.tumour:
            raise BadStudyError(
                f"{path.name}: mask is black on a transparent background; set tumour_values: [0] if black is the tumour"
            )
        return MaskReading(stencil if _is_black_tumour(values) else np.zeros(shape, np.bool_), remarks=remarks)
    drawn = _drawn(pixels, path.name)
    classes, exact = classes_of(drawn.planes, lossy=drawn.lossy, reach=COLOUR_REACH if drawn.is_coloured else REACH)
    if values.tumour:
        reading = _by_options(drawn, classes, values, exact=exact)
    else:
        reading = _of_two_values(drawn, classes, path.name, pixels.white)
    return MaskReading(reading.lesion, reading.unspoken, (*remarks, *reading.remarks))


def _drawn(pixels: Pixels, name: str) -> _Drawn:
    planes, palette, indexed = pixels.values, pixels.palette, False
    if palette is not None:
        used = np.unique(planes)
        colours = palette[used]
        if len(np.unique(colours, axis=0)) < len(used):
            palette = None  # It says nothing: values that differ look alike.
        elif (colours == colours[:, :1]).all():
            planes, palette = palette[planes][..., 0], palette[: used.max() + 1]
        elif not palette[0].any():
            indexed = True  # Classes 0, 1, 2, ... as labelling tools write them.
        else:
            planes = palette[planes]  # Colours in any order: black is where its colour is.
    elif planes.ndim == 3:
        spread = np.ptp(planes, axis=2)
        if (spread <= (_GREY_SPREAD if pixels.lossy else 0)).all():
            planes = luma(planes)
    planes = planes.astype(np.float32).reshape(*planes.shape[:2], -1)
    if pixels.opacity is not None:
        planes = planes * (pixels.opacity >= 0.5)[..., None]
    if not np.isfinite(planes).all():
        raise BadStudyError(f"{name}: holds values that are NaN or infinite")
    if pixels.lossy and planes.max() <= _DARKEST_JPEG:
        if planes.min() != planes.max():
            raise BadStudyError(
                f"{name}: is a JPEG whose brightest value is {planes.max():g}, which compression does not keep; save "
                "masks as PNG"
            )
        planes = np.zeros_like(planes)
    colour = single_colour(planes) if pixels.lossy and planes.shape[2] == 3 and planes.any() else None
    if colour is not None:
        planes = np.asarray(_brightness(planes)[..., None], np.float32)
    return _Drawn(planes, pixels.lossy, palette, indexed, colour)


def _brightness(colours: Planes) -> Any:
    """As :func:`luma`, not rounded: a blue is dark, and a tenth of it is few levels."""
    return colours @ np.array([0.299, 0.587, 0.114], np.float32)


def _stencil(pixels: Pixels, name: str) -> npt.NDArray[np.bool_] | None:
    """(Y, X) what is drawn, where it is drawn in black on a transparent ground; None for any other mask."""
    if pixels.opacity is None or pixels.opacity.min() >= 0.5:
        return None
    drawn = np.asarray(pixels.opacity >= 0.5)
    values: npt.NDArray[Any] = pixels.values if pixels.palette is None else pixels.palette[pixels.values]
    if not drawn.any() and (values != values[0, 0]).any():
        raise BadStudyError(f"{name}: every pixel is transparent, and something is drawn below; save it without")
    return None if not drawn.any() or values[drawn].any() else drawn


def _is_black_tumour(values: MaskValues) -> bool:
    return any(value in (0.0, (0, 0, 0)) for value in values.tumour)


def _of_two_values(drawn: _Drawn, classes: Planes, name: str, white: float | None) -> MaskReading:
    belongs = nearest(drawn.planes, classes)
    black = ~classes.any(axis=1)
    if len(classes) > 2 or not black.any():
        raise BadStudyError(f"{name}: {_what_it_holds(drawn, classes, belongs)}")
    lesion: npt.NDArray[np.bool_] = np.logical_not(black)[belongs]
    remarks = []
    for value in classes[~black]:
        # The liver of a slice without a tumour is one value as well, and not white.
        if drawn.indexed or white is None or drawn.colour is not None or value.min() < 0.98 * white:
            about = drawn.name(value) if not drawn.lossy else "a colour" if drawn.is_coloured else "a grey"
            remarks.append(Remark("guess", f"{about}, the one value of a mask, taken as tumour"))
    if lesion.mean() <= 0.5:
        return MaskReading(lesion, remarks=tuple(remarks))
    if lesion[0, 0] and lesion[0, -1] and lesion[-1, 0] and lesion[-1, -1]:
        value = _quoted(drawn.about(classes[~black][0]))
        raise BadStudyError(
            f"{name}: mask is {value} over {lesion.mean():.0%} of the image and in its corners, as where black is the "
            f"tumour; set tumour_values: [0] and other_values: [{value}] if it is, or tumour_values: [{value}] if that "
            "is the tumour"
        )
    return MaskReading(lesion, remarks=(*remarks, _LARGE))


def _what_it_holds(drawn: _Drawn, classes: Planes, belongs: npt.NDArray[np.intp]) -> str:
    shares = np.bincount(belongs.ravel(), minlength=len(classes)) / belongs.size
    told = [f"{drawn.name(value)} ({share:.2%} of the pixels)" for value, share in zip(classes, shares, strict=True)]
    more = f" and {len(told) - _MOST_NAMED} more" if len(told) > _MOST_NAMED else ""
    held = f"the values {', '.join(told[:_MOST_NAMED])}{more}" if len(told) > 1 else f"nothing but {told[0]}"
    bright = [drawn.about(value) for value in classes if value.any()]
    return (
        f"mask holds {held}; say which are tumour, e.g. tumour_values: [{_quoted(bright[-1])}], and which are not in "
        "other_values"
    )


def _quoted(value: str) -> str:
    return f'"{value}"' if value.startswith("#") else value


def _by_options(drawn: _Drawn, classes: Planes, values: MaskValues, *, exact: bool) -> MaskReading:
    tumour, other = (
        np.concatenate([np.empty((0, classes.shape[1]), np.float32), *map(drawn.vectors, some)])
        for some in (values.tumour, values.other)
    )
    listed = np.unique(np.concatenate([tumour, other, np.zeros((1, classes.shape[1]), np.float32)]), axis=0)
    tolerance = 0.0
    if exact:  # A value that is listed counts wherever it stands, however thin.
        _, table = coded(drawn.planes)
        present = [one[None] for one in table if (listed == one).all(axis=1).any()]
        classes = np.unique(np.concatenate([classes, *present]), axis=0)
    else:
        apart = min((np.abs(a - b).max() for a, b in combinations(listed, 2)), default=np.inf)
        error = _COLOUR_ERROR if drawn.lossy and drawn.is_coloured else 0.1 * float(np.abs(drawn.planes).max())
        tolerance = min(error, 0.5 * float(apart))
    kinds = [_kind(value, tumour, other, tolerance) for value in classes]
    lesion = np.array([kind == "tumour" for kind in kinds])[nearest(drawn.planes, classes)]
    unspoken = [drawn.about(value) for value, kind in zip(classes, kinds, strict=True) if kind == "unspoken"]
    return MaskReading(lesion, tuple(unspoken))


def _kind(value: Planes, tumour: Planes, other: Planes, tolerance: float) -> Literal["tumour", "other", "unspoken"]:
    to_tumour, to_other = (np.abs(some - value).max(axis=1).min(initial=np.inf) for some in (tumour, other))
    if to_tumour <= min(tolerance, to_other):
        return "tumour"
    return "other" if to_other <= tolerance or not value.any() else "unspoken"
