"""Reference slices as pictures: each in the versions that belong beside each other, and how one of them came about."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from common.figures.formatting import SIMILARITY
from common.report.images import Picture, picture
from common.report.page import ReportError
from common.system.array_files import read_arrays

STRIPS = 4
"""Slices that are followed over the rounds."""

Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Row:
    """Pictures that belong together, the words above them, and the rule by which the slice was chosen."""

    title: str
    pictures: Sequence[Picture]
    rule: str = ""


@dataclass(frozen=True)
class ReferenceGallery:
    """Finished rows: each slice in every version, and the first slices after every round (empty if not recorded).

    ``subject`` is what is shown, e.g. an organ; ``followed`` the version that the rounds are shown of; ``truth`` the
    version to see it against; ``ranked_by`` the figure that best, median and worst are by (empty if unknown).
    """

    about: str
    slices: Sequence[Row]
    by_round: Sequence[Row]
    subject: str
    followed: str
    outlined: bool
    """Whether there are lesions to outline."""
    versions: int
    truth: str = ""
    ranked_by: str = ""


def reference_gallery(path: Path) -> ReferenceGallery | None:
    """The gallery in an ``.npz`` file; None if the file is not there.

    The file is in the form of :class:`~server.evaluation.gallery.Gallery`, with ``rounds`` (r,) the numbers of the
    rounds in ``by_round`` and ``subject``.

    Raises:
        ReportError: if the file cannot be read or a part is missing.
    """
    if not path.exists():
        return None
    try:
        arrays = read_arrays(path)
        versions = [str(name) for name in arrays["versions"]]
        count = len(arrays["images"])
        if arrays["images"].shape[1] != len(versions):
            raise ValueError(f"{arrays['images'].shape[1]} images a slice for {len(versions)} versions")
        slices = [_slice(arrays, versions, i) for i in range(count)]
        followed = str(arrays["followed"])
        by_round = [_strip(arrays, versions, i) for i in range(min(count, STRIPS))] if "by_round" in arrays else []
        about = str(arrays["about"])
        truth = str(arrays["last"]) or next((name for name in versions if name != followed), "")
        ranked_by = next((name for name, values in _each_figure(arrays) if not _is_yes_or_no(values)), "")
    except (OSError, ValueError, KeyError, IndexError, EOFError) as error:
        raise ReportError(
            f"{path}: not a gallery of reference slices ({error}); run the study's scoring again"
        ) from error
    subject = str(arrays.get("subject", path.stem))
    outlined = "labels" in arrays
    return ReferenceGallery(about, slices, by_round, subject, followed, outlined, len(versions), truth, ranked_by)


def _each_figure(arrays: Arrays) -> list[tuple[str, npt.NDArray[Any]]]:
    return [(str(name), values) for name, values in zip(arrays["figure_names"], arrays["figures"].T, strict=True)]


def _is_yes_or_no(values: npt.NDArray[Any]) -> bool:
    return bool(np.isin(values, (0, 1)).all())


def _figures(arrays: Arrays, i: int) -> str:
    """What is written above slice ``i``; a figure that is 0 or 1 for every slice is a yes or no."""
    written = []
    for name, values in _each_figure(arrays):
        if _is_yes_or_no(values):
            written.append(f"{name}: {'yes' if values[i] else 'no'}")
        else:
            written.append(f"{name} {SIMILARITY.text(float(values[i]))}")
    return ", ".join(written)


def _labels(arrays: Arrays, i: int) -> npt.NDArray[np.uint8] | None:
    return arrays["labels"][i] if "labels" in arrays else None


def _slice(arrays: Arrays, versions: Sequence[str], i: int) -> Row:
    figures = _figures(arrays, i)
    title = f"Slice {i + 1}, {arrays['rule'][i]}{': ' if figures else ''}{figures}"
    pictures = [
        picture(image, f"Reference slice {i + 1}, {name}", name, _labels(arrays, i))
        for name, image in zip(versions, arrays["images"][i], strict=True)
    ]
    return Row(title, pictures, str(arrays["rule"][i]))


def _strip(arrays: Arrays, versions: Sequence[str], i: int) -> Row:
    images, followed, last = arrays["by_round"][:, i], str(arrays["followed"]), str(arrays["last"])
    pictures = [
        picture(image, f"Reference slice {i + 1}, {followed}, {when}", when, _labels(arrays, i))
        for when, image in zip(_when(arrays, len(images)), images, strict=True)
    ]
    if last:
        image = arrays["images"][i, versions.index(last)]
        pictures.append(picture(image, f"Reference slice {i + 1}, {last}", last, _labels(arrays, i)))
    return Row(f"Slice {i + 1}, {arrays['rule'][i]}", pictures)


def _when(arrays: Arrays, count: int) -> list[str]:
    """Which rounds a strip shows; only their order is known if the file does not number them."""
    if "rounds" not in arrays:
        return [f"{i} of {count}" for i in range(1, count + 1)]
    return [f"round {number}" for number in arrays["rounds"].tolist()]
