"""Reference slices as pictures: what was asked of the generator, what it drew, and how it came to draw it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from common.report.formatting import SIMILARITY
from common.report.images import Picture, picture
from common.report.page import ReportError

_COLUMNS = (
    ("target", "real"),
    ("blanked", "blanked"),
    ("generated", "generated"),
    ("biharmonic", "biharmonic"),
)


STRIPS = 4
"""Slices that are followed over the rounds."""


@dataclass(frozen=True)
class Row:
    """Pictures that belong together, and the words above them."""

    title: str
    pictures: Sequence[Picture]


@dataclass(frozen=True)
class ReferenceGallery:
    """Finished rows: each slice four ways, and the first slices after every round (empty if not recorded)."""

    slices: Sequence[Row]
    by_round: Sequence[Row]
    subject: str = ""
    """What is shown, e.g. an organ."""


def reference_gallery(path: Path) -> ReferenceGallery | None:
    """The gallery in ``gallery.npz``; None if the file is not there.

    The file holds ``target``, ``blanked``, ``generated``, ``biharmonic`` (n, H, W) in [0, 1], ``labels`` (n, H, W),
    ``rule`` (n,) how each slice was picked, ``lesion_ssim`` (n,). It may hold ``floor_lesion_ssim`` (n,), and
    ``by_round`` (r, k, H, W): the first k slices as generated after each of r rounds, with their numbers
    ``rounds`` (r,).

    Raises:
        ReportError: if the file cannot be read or a part is missing.
    """
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {key: stored[key] for key in stored.files}
        count = len(arrays["target"])
        slices = [_slice(arrays, i) for i in range(count)]
        strips = arrays.get("by_round")
        by_round = (
            [] if strips is None else [_strip(arrays, strips, i) for i in range(min(strips.shape[1], count, STRIPS))]
        )
    except (OSError, ValueError, KeyError, IndexError, EOFError) as error:
        raise ReportError(
            f"{path}: not a gallery of reference slices ({error}); run the study's scoring again"
        ) from error
    return ReferenceGallery(slices, by_round, str(arrays.get("subject", path.stem)))


def _when(arrays: Mapping[str, npt.NDArray[Any]], count: int) -> list[str]:
    """Which rounds a strip shows; only their order is known if the file does not number them."""
    numbers = arrays.get("rounds")
    if numbers is None:
        return [f"{i} of {count}" for i in range(1, count + 1)]
    return [f"round {number}" for number in numbers.tolist()]


def _slice(arrays: Mapping[str, npt.NDArray[Any]], i: int) -> Row:
    title = f"Slice {i + 1}, {arrays['rule'][i]}: lesion SSIM {SIMILARITY.text(float(arrays['lesion_ssim'][i]))}"
    if "floor_lesion_ssim" in arrays:
        title += f", biharmonic {SIMILARITY.text(float(arrays['floor_lesion_ssim'][i]))}"
    pictures = [
        picture(arrays[key][i], f"Reference slice {i + 1}, {label}", label, arrays["labels"][i])
        for key, label in _COLUMNS
    ]
    return Row(title, pictures)


def _strip(arrays: Mapping[str, npt.NDArray[Any]], strips: npt.NDArray[Any], i: int) -> Row:
    pictures = [
        picture(image, f"Reference slice {i + 1} as generated, {when}", when, arrays["labels"][i])
        for when, image in zip(_when(arrays, len(strips)), strips[:, i], strict=True)
    ]
    pictures.append(picture(arrays["target"][i], f"Reference slice {i + 1}, real", "real", arrays["labels"][i]))
    return Row(f"Slice {i + 1}, {arrays['rule'][i]}", pictures)
