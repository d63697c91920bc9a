"""What the client app leaves in ``results/explanations/`` for the site report, read and checked."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from common.figures.figure import Scores
from common.study.experiment import ARMS
from common.system.array_files import arrays_in

FOLDER = "explanations"

Arrays = Mapping[str, npt.NDArray[Any]]

_TOGETHER: dict[str, tuple[str, ...]] = {
    "attention": ("kind", "images", "labels", "maps", "probability", "patient", "slice"),
    "embedding": ("tsne", "pca", "tumour", "synthetic"),
    "ranked": ("rule", "images", "labels", "probability"),
}
"""Arrays that have an entry for each of the same slices."""

_NEAREST = ("made", "made_labels", "real", "real_labels", "ssim")


@dataclass(frozen=True)
class ArmExplanation:
    """One classifier: its figures, and its pictures by the names that :mod:`client.study.explanations` gives them."""

    figures: Scores
    pictures: Arrays


@dataclass
class Explanations:
    """Everything found; ``unreadable`` says what was there and could not be read."""

    arms: dict[str, ArmExplanation] = field(default_factory=dict)
    nearest: Arrays = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.arms or self.nearest)


def read_explanations(results: Path) -> Explanations:
    """Reads what is there and sound.

    Args:
        results: the site's ``results/``.
    """
    found = Explanations()
    for arm in ARMS:
        figures, pictures = (results / FOLDER / f"{arm}.{ending}" for ending in ("json", "npz"))
        if not (figures.exists() or pictures.exists()):
            continue
        try:
            record = Scores.model_validate(json.loads(figures.read_bytes()))
            arrays = arrays_in(pictures.read_bytes(), pictures)
            for group, names in _TOGETHER.items():
                _check(arrays, [f"{group}_{name}" for name in names])
            found.arms[arm] = ArmExplanation(record, arrays)
        except Exception as error:  # whatever a damaged file makes its reader raise, the rest can be shown
            found.unreadable.append(_told(arm, error))
    nearest = results / FOLDER / "nearest.npz"
    if nearest.exists():
        try:
            arrays = arrays_in(nearest.read_bytes(), nearest)
            _check(arrays, _NEAREST)
            if not {"crop", "all_ssim", "floor_ssim"} <= set(arrays):
                raise ValueError("a figure is missing")
            found.nearest = arrays
        except Exception as error:
            found.unreadable.append(_told("nearest", error))
    return found


def nearest_figures(nearest: Arrays) -> dict[str, Any] | None:
    """The similarities behind the nearest lesions as plain numbers: medians, how many, and the window's side."""
    if not nearest:
        return None
    found: dict[str, Any] = {"window": int(nearest["crop"])}
    for name, key in (("synthetic", "all_ssim"), ("real_other_patient", "floor_ssim")):
        known = nearest[key][~np.isnan(nearest[key])].astype(np.float64)
        low, median, high = np.percentile(known, (5, 50, 95)).tolist() if len(known) else (None, None, None)
        found[name] = {"lesions": len(known), "median": median, "low": low, "high": high}
    return found


def _check(arrays: Arrays, names: Sequence[str]) -> None:
    """All of a group or none of it, one entry a slice each, pictures (n, H, W) of one size."""
    there = [name for name in names if name in arrays]
    if not there:
        return
    if len(there) < len(names):
        raise ValueError(f"{', '.join(set(names) - set(there))} missing")
    if len({len(arrays[name]) for name in names}) > 1:
        raise ValueError(f"{', '.join(names)} differ in length")
    sizes = {arrays[name].shape[1:] for name in names if arrays[name].ndim == 3}
    if len(sizes) > 1:
        raise ValueError(f"pictures of {sizes} beside each other")


def _told(name: str, error: Exception) -> str:
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return f"{FOLDER}/{name} could not be read ({first})."
