"""One 2D image with its masks: its lesion, whether it shows a tumour, and what has to be told or asked of it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from common.errors import BadStudyError
from common.imaging.readers.flat_image import TURNED, grey_image
from common.imaging.readers.flat_mask import read_mask
from common.imaging.readers.mask_values import MaskValues
from common.imaging.remarks import Question, Remark

_ANSWERS = ("tumour_values", "other_values")
_FREE = Remark("guess", "no mask, taken as without a tumour as options.unmasked says")
_UNTURNED = Remark("guess", "image and mask state different EXIF orientations, each turned by its own")
_NOT_EMPTY = (
    "mask is not empty, though its class has no tumour; add the class to tumour_classes, or set classes: masks if the "
    "masks tell and not the folders"
)
_EMPTY = "mask is empty, though its class shows a tumour; set classes: masks if the masks tell and not the folders"


@dataclass(frozen=True)
class FlatSlice:
    """One image.

    Attributes:
        image: (Y, X) grey values, or HU.
        lesion: (Y, X) 1 in the tumour.
        masked: whether it has a mask.
        tumour: whether it shows one, outlined or not.
    """

    image: npt.NDArray[np.float32]
    lesion: npt.NDArray[np.uint8]
    masked: bool
    tumour: bool
    remarks: tuple[Remark, ...]
    questions: tuple[Question, ...]


def read_slice(
    path: Path,
    masks: tuple[Path, ...],
    *,
    values: MaskValues,
    stated: bool,
    by_mask: bool,
    unmasked_is_free: bool,
    hu_range: tuple[float, ...],
) -> FlatSlice:
    """One image and the union of its masks.

    Args:
        stated: whether its class shows a tumour.
        by_mask: whether its masks are asked and not its class.
        unmasked_is_free: whether it shows no tumour then where it has no mask.
        hu_range: the HU of black and white; empty for values as stored.

    Raises:
        BadStudyError: as :func:`grey_image` and :func:`read_mask`, or a mask does not agree with the class.
    """
    image, white, told = grey_image(path)
    lesion = np.zeros(image.shape, np.bool_)
    unspoken: list[str] = []
    remarks = list(told)
    for mask in masks:
        reading = read_mask(mask, image.shape, values)
        lesion |= reading.lesion
        unspoken += reading.unspoken
        remarks += reading.remarks
        if (TURNED in told) != (TURNED in reading.remarks):
            remarks.append(_UNTURNED)
    tumour = stated
    questions: list[Question] = []
    if unspoken and not lesion.any():
        questions = [Question(value, _ANSWERS) for value in unspoken]
    elif masks and by_mask:
        tumour = bool(lesion.any())
    elif masks and bool(lesion.any()) != stated:
        raise BadStudyError(f"{masks[0].name}: {_EMPTY if stated else _NOT_EMPTY}")
    elif by_mask and not masks and not stated:
        if not unmasked_is_free:
            raise BadStudyError(
                f"{path.name}: has no mask, and classes: masks takes the class from it; set unmasked: tumour_free if "
                "images without one show no tumour"
            )
        remarks.append(_FREE)
    if lesion.any():
        remarks += [Remark("value", value) for value in unspoken]
    return FlatSlice(
        _scaled(image, white, hu_range, path.name),
        lesion.astype(np.uint8),
        bool(masks),
        tumour,
        tuple(remarks),
        tuple(questions),
    )


def _scaled(
    values: npt.NDArray[np.float32], white: float | None, hu_range: tuple[float, ...], name: str
) -> npt.NDArray[np.float32]:
    if not hu_range:
        return values
    if white is None:
        raise BadStudyError(
            f"{name}: 32-bit pixels have no known white to scale to Hounsfield units by hu_range; save it with 16 bits"
        )
    low, high = hu_range
    return np.asarray(low + values / white * (high - low), dtype=np.float32)
