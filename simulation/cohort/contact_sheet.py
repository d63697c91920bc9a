"""A picture of the whole demo cohort: a glance tells whether it looks like patients."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from common.errors import DataError
from simulation.cohort.build import REFERENCE_PARTS, CohortFolders

CONTRASTS = {"flair": "FLAIR", "t1ce": "T1ce"}
"""File names of what is shown, and how it is written."""

DISPLAY_RANGE = (-2.5, 4.5)
"""Black and white, in standard deviations from the mean of the brain."""

_ROWS, _COLUMNS = slice(30, 230), slice(38, 202)


@dataclass(frozen=True)
class _Tile:
    """One slice: contrast name to (rows, columns) z-scores, lesion mask, and the words above it."""

    images: dict[str, npt.NDArray[np.float32]]
    lesion: npt.NDArray[np.bool_]
    title: str


def contact_sheet(folders: CohortFolders, path: Path, patients: int = 4) -> Path:
    """Draws slices of several patients of every site into a PNG.

    Each site, and the reference set, has a row of patients with a tumour and one of patients without; each patient a
    column in FLAIR and one in T1ce. Lesions are outlined.

    Args:
        folders: what ``build_cohort`` returned.
        path: of the picture; its folder is made if missing.
        patients: columns of each contrast.

    Returns:
        ``path``.

    Raises:
        DataError: if a folder holds no patient.
    """
    rows: list[tuple[str, list[_Tile]]] = []
    groups = {
        **folders.sites,
        **{f"reference\n{part}": folders.reference["brain"] / part for part in REFERENCE_PARTS[:1]},
    }
    for name, folder in groups.items():
        with_tumour, without = _pick(folder, patients)
        rows += [(f"{name}\ntumour", with_tumour), (f"{name}\nno tumour", without)]
    columns = patients * len(CONTRASTS)
    height = sum(bool(tiles) for _, tiles in rows)
    figure = Figure(figsize=(1.35 * columns + 0.6, 1.75 * height + 0.3), facecolor="black", layout="constrained")
    axes = figure.subplots(height, columns, squeeze=False)
    drawn = [(label, tiles) for label, tiles in rows if tiles]
    for line, (label, tiles) in zip(axes, drawn, strict=True):
        for axis in line:
            axis.set_facecolor("black")
            axis.set_xticks([])
            axis.set_yticks([])
        line[0].set_ylabel(label, color="white", fontsize=7)
        for column, tile in enumerate(tiles):
            for k, contrast in enumerate(CONTRASTS):
                _draw(line[column * len(CONTRASTS) + k], tile, contrast)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    return path


def _pick(folder: Path, patients: int) -> tuple[list[_Tile], list[_Tile]]:
    """The first patients with and without a tumour; files are read only as far as needed."""
    cases = sorted(case for case in folder.glob("*") if case.is_dir())
    if not cases:
        raise DataError(f"{folder}: holds no patient; build the demo cohort first")
    with_tumour: list[_Tile] = []
    without: list[_Tile] = []
    for case in cases:
        lesion = _load(case, "seg") > 0
        chosen = with_tumour if lesion.any() else without
        if len(chosen) < patients:
            chosen.append(_tile(case, lesion))
        if len(with_tumour) == len(without) == patients:
            break
    return with_tumour, without


def _tile(case: Path, lesion: npt.NDArray[np.bool_]) -> _Tile:
    """The slice with the largest lesion, or the middle one."""
    area = lesion.sum(axis=(1, 2))
    k = int(area.argmax()) if area.any() else len(area) // 2
    images = {}
    for contrast in CONTRASTS:
        volume = _load(case, contrast).astype(np.float32)
        inside = volume[volume > 0]
        images[contrast] = np.where(volume[k] > 0, (volume[k] - inside.mean()) / inside.std(), -np.inf)[_ROWS, _COLUMNS]
    return _Tile(images, lesion[k][_ROWS, _COLUMNS], f"{case.name.rsplit('_', 1)[-1]}, slice {k}")


def _load(case: Path, name: str) -> npt.NDArray[Any]:
    """(Z, Y, X) as stored."""
    image: Any = nib.load(case / f"{case.name}_{name}.nii.gz")
    return np.asarray(image.dataobj).T


def _draw(axis: Axes, tile: _Tile, contrast: str) -> None:
    low, high = DISPLAY_RANGE
    axis.imshow(np.clip(tile.images[contrast], low, high), cmap="gray", vmin=low, vmax=high)
    if tile.lesion.any():
        axis.contour(tile.lesion, levels=[0.5], colors="#ff5050", linewidths=0.6)
    axis.set_title(f"{CONTRASTS[contrast]} {tile.title}", color="white", fontsize=6)
