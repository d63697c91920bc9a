"""Stored pixels become values in the modality's units."""

from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.encaps import get_frame
from pydicom.pixels.utils import pixel_array

from common.errors import BadStudyError
from common.imaging.dicom.codestream import grey_image_size
from common.imaging.dicom.frames import Frame, frame_count

AIR_HU = -1024.0
"""The lowest value of a CT: what lies outside the scanner's field of view, or below it, gets this."""

_PHOTOMETRIC = ("MONOCHROME1", "MONOCHROME2")


def check_format(frame: Frame) -> None:
    """Refuses pixels that are no grey values, before they are decoded.

    Raises:
        BadStudyError: colour, an unknown photometric interpretation, or no scale for a CT.
    """
    dataset = frame.dataset
    photometric = dataset.get("PhotometricInterpretation")
    if dataset.get("SamplesPerPixel", 1) != 1 or photometric not in _PHOTOMETRIC:
        raise BadStudyError(f"{frame.name}: pixels are {photometric or 'of an unnamed kind'}, not grey values")
    if dataset.Modality == "CT":
        if frame.slope is None or frame.intercept is None:
            raise BadStudyError(
                f"{frame.name}: RescaleSlope or RescaleIntercept is missing, so its values are no Hounsfield units"
            )
        if frame.slope <= 0 or abs(frame.slope) > 1e3 or abs(frame.intercept) > 1e6:
            raise BadStudyError(f"{frame.name}: RescaleSlope {frame.slope:g} gives no Hounsfield units")


def write_units(frame: Frame, out: npt.NDArray[np.float32]) -> None:
    """Decodes one slice into ``out`` (Y, X): HU for CT (at least -1024), for MR the rescaled or stored value.

    The order matters: padding is found in the stored values, then MONOCHROME1 is turned over within the stored range,
    then the slope and intercept are applied. Padding becomes -1024 HU, or 0 in MR.

    Raises:
        BadStudyError: the pixels are missing, truncated or damaged, or not finite.
    """
    dataset = frame.dataset
    try:
        check_codestream(frame)
        stored = pixel_array(dataset, index=frame.index, raw=True)
    except BadStudyError:
        raise
    except Exception as error:  # Every decoder has its own errors.
        raise BadStudyError(f"{frame.name}: pixel data are missing, truncated or damaged") from error
    if stored.shape != out.shape:
        raise BadStudyError(f"{frame.name}: pixel data have the shape {stored.shape}, the header says {out.shape}")
    padding = _padding(frame, stored)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        bits, signed = int(dataset.BitsStored), int(dataset.PixelRepresentation)
        # Lowest plus highest stored value: 4095 for 12 bits, -1 for any number of signed bits.
        np.subtract(np.float32(-1 if signed else (1 << bits) - 1), stored, out=out, casting="same_kind")
        stored = out
    slope = 1.0 if frame.slope is None else frame.slope
    intercept = 0.0 if frame.intercept is None else frame.intercept
    np.multiply(stored, np.float32(slope), out=out, casting="same_kind")
    out += np.float32(intercept)
    if dataset.Modality == "CT":
        np.maximum(out, np.float32(AIR_HU), out=out)
    if padding is not None:
        out[padding] = AIR_HU if dataset.Modality == "CT" else 0.0
    if stored.dtype.kind == "f" and not np.isfinite(out).all():
        raise BadStudyError(f"{frame.name}: holds values that are NaN or infinite")


def check_codestream(frame: Frame) -> None:
    """Refuses compressed pixels that would unpack to another size than the header says, before they are unpacked.

    Raises:
        BadStudyError: the compressed image is larger or smaller, or has colours.
    """
    dataset = frame.dataset
    if not dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        return
    size = grey_image_size(get_frame(dataset.PixelData, frame.index, number_of_frames=frame_count(dataset)))
    if size is not None and size != frame.shape:
        raise BadStudyError(f"{frame.name}: compressed pixels are {size[0]}x{size[1]}, the header says otherwise")


def _padding(frame: Frame, stored: npt.NDArray[Any]) -> npt.NDArray[np.bool_] | None:
    """(Y, X) True where the scanner filled up the square; None where it did not.

    A value may be written as the other signedness than the pixels, e.g. 63536 for -2000: it is read as the pixels are.
    """
    value = frame.dataset.get("PixelPaddingValue")
    if value is None or stored.dtype.kind not in "iu":
        return None
    limit = frame.dataset.get("PixelPaddingRangeLimit")
    low, high = sorted(
        int(np.asarray(int(end)).astype(stored.dtype)) for end in (value, value if limit is None else limit)
    )
    inside = stored == low if low == high else (stored >= low) & (stored <= high)
    return inside if inside.any() else None
