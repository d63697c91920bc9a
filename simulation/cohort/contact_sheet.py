"""A picture of the whole demo cohort: a glance tells whether it looks like patients.

What is drawn comes through the same readers that a study uses.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image
from scipy.ndimage import label

from common.errors import DataError
from common.imaging.patient import Patient, StudyLocation
from common.imaging.readers.registry import build_reader
from common.system.files import write_bytes
from simulation.cohort.build import REFERENCE_PARTS, CohortFolders
from simulation.cohort.organs import demo_organ


@dataclass(frozen=True)
class View:
    """One way to look at a slice.

    Attributes:
        contrast: which channel.
        title: above the picture.
        window: what is black and what is white: HU, or standard deviations from the mean of what is not 0.
        zoom: width in mm of a square around the lesion, or around the middle where there is none; None for all.
    """

    contrast: str
    title: str
    window: tuple[float, float]
    zoom: float | None = None


VIEWS = {
    "brain": (View("flair", "FLAIR", (-2.5, 4.5)), View("t1ce", "T1ce", (-2.5, 4.5))),
    "lung": (View("ct", "lung window", (-1350, 150)), View("ct", "closer", (-1350, 150), zoom=85)),
    "liver": (View("ct", "liver window", (-60, 200)), View("ct", "closer", (-60, 200), zoom=120)),
}
"""Each organ's columns; every organ has as many."""

LARGEST_FILE = 1_500_000
"""Bytes."""

_HEAD = (slice(30, 230), slice(38, 202))
"""Rows and columns of a BraTS slice that hold the head."""

_RESOLUTIONS = (130, 110, 90, 75, 60, 45)
"""Dots per inch, tried in turn until the file is small enough."""

_RED = np.array([255.0, 80.0, 80.0])

Plane = npt.NDArray[np.float32]


@dataclass(frozen=True)
class _Tile:
    """One slice: for each view its pixels in [0, 1] and the lesion's mask, and the words above it."""

    pictures: tuple[tuple[Plane, npt.NDArray[np.bool_]], ...]
    titles: tuple[str, ...]


def contact_sheet(folders: CohortFolders, path: Path, patients: int = 4) -> Path:
    """Draws slices of several patients of every site into a PNG.

    Each site, and each organ's reference set, has a row of patients with a tumour and one of patients without; each
    patient has two columns, for MRI two contrasts, for CT the slice and a part of it. Lesions are outlined.

    Args:
        folders: what ``build_cohort`` returned.
        path: of the picture; its folder is made if missing.
        patients: most patients in a row.

    Returns:
        ``path``.

    Raises:
        DataError: if a folder holds no patient.
    """
    groups = [(name, folders.organs.get(name, "brain"), folder) for name, folder in folders.sites.items()]
    part = REFERENCE_PARTS[0]
    groups += [(f"reference {organ}\n{part}", organ, folder / part) for organ, folder in folders.reference.items()]
    rows: list[tuple[str, list[_Tile]]] = []
    for name, organ, folder in groups:
        with_tumour, without = _pick(folder, organ, patients)
        rows += [(f"{name}\n{which}", tiles) for which, tiles in (("tumour", with_tumour), ("none", without)) if tiles]
    figure = _figure(rows)
    for resolution in _RESOLUTIONS:
        content = _png(figure, resolution)
        if len(content) <= LARGEST_FILE:
            break
    write_bytes(path, content)
    return path


def _pick(folder: Path, organ: str, patients: int) -> tuple[list[_Tile], list[_Tile]]:
    """The first patients with and without a tumour; few files are read."""
    if not folder.is_dir() or not any(folder.iterdir()):
        raise DataError(f"{folder}: holds no patient; build the demo cohort first")
    contrasts = list(dict.fromkeys(view.contrast for view in VIEWS[organ]))
    reader = build_reader(demo_organ(organ).reader, organ=organ, contrasts=contrasts, options={})
    locations: Sequence[StudyLocation] = reader.find(folder)
    with_tumour: list[_Tile] = []
    without: list[_Tile] = []
    for location in locations[: 3 * patients]:
        patient = reader.read(location)
        chosen = with_tumour if patient.has_tumour else without
        if len(chosen) < patients:
            chosen.append(_tile(patient))
        if len(with_tumour) == len(without) == patients:
            break
    return with_tumour, without


def _tile(patient: Patient) -> _Tile:
    """The slice with the largest lesion, or the middle one."""
    lesion = np.zeros(patient.images.shape[1:], bool) if patient.labels is None else patient.labels > 0
    area = lesion.sum(axis=(1, 2))
    k = int(area.argmax()) if area.any() else len(area) // 2
    pictures, titles = [], []
    for view in VIEWS[patient.organ]:
        volume = patient.images[patient.contrasts.index(view.contrast)]
        plane = volume[k]
        if patient.modality == "MR":
            inside = volume[volume > 0]
            plane = np.where(plane > 0, (plane - inside.mean()) / inside.std(), -np.inf)
        shown = _HEAD if patient.organ == "brain" else _shown(lesion[k], patient.spacing[2], view.zoom)
        low, high = view.window
        pictures.append((((np.clip(plane, low, high) - low) / (high - low))[shown], lesion[k][shown]))
        titles.append(f"{view.title} {patient.patient.rsplit('_', 1)[-1]}, slice {k}")
    return _Tile(tuple(pictures), tuple(titles))


def _shown(lesion: npt.NDArray[np.bool_], pixel: float, zoom: float | None) -> tuple[slice, slice]:
    """Rows and columns of the part to show."""
    if zoom is None:
        return slice(None), slice(None)
    rows, columns = lesion.shape
    side = min(rows, columns, round(zoom / pixel))
    middle = np.array([rows * 0.5, columns * 0.36])
    if lesion.any():
        parts, _ = label(lesion)
        middle = np.argwhere(parts == 1 + np.bincount(parts.ravel())[1:].argmax()).mean(axis=0)
    top, left = (int(np.clip(round(m - side / 2), 0, n - side)) for m, n in zip(middle, lesion.shape, strict=True))
    return slice(top, top + side), slice(left, left + side)


def _figure(rows: list[tuple[str, list[_Tile]]]) -> Figure:
    views = len(next(iter(VIEWS.values())))
    columns = views * max(len(tiles) for _, tiles in rows)
    layout = ConstrainedLayoutEngine(w_pad=0.01, h_pad=0.01, wspace=0, hspace=0)
    figure = Figure(figsize=(1.35 * columns + 0.6, 1.45 * len(rows) + 0.1), facecolor="black", layout=layout)
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for line, (words, tiles) in zip(axes, rows, strict=True):
        for axis in line:
            axis.set_facecolor("black")
            axis.set_xticks([])
            axis.set_yticks([])
        line[0].set_ylabel(words, color="white", fontsize=7)
        for column, tile in enumerate(tiles):
            for k in range(views):
                _draw(line[column * views + k], tile, k)
    return figure


def _draw(axis: Axes, tile: _Tile, view: int) -> None:
    picture, lesion = tile.pictures[view]
    axis.imshow(picture, cmap="gray", vmin=0, vmax=1)
    if lesion.any():
        axis.contour(lesion, levels=[0.5], colors=[_RED / 255], linewidths=0.6)
    axis.set_title(tile.titles[view], color="white", fontsize=5.5, pad=2)


def _png(figure: Figure, resolution: int) -> bytes:
    """The figure in few colours: greys, and greys mixed with the outlines' red."""
    drawn, stored = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, dpi=resolution, format="png")
    greys = np.repeat(np.linspace(0, 255, 48)[:, None], 3, axis=1)
    mixed = [share * _RED + (1 - share) * greys[::6] for share in (0.3, 0.6, 0.85, 1.0)]
    colours = np.concatenate([greys, *mixed]).round().astype(np.uint8)
    palette = Image.new("P", (1, 1))
    palette.putpalette(colours.tobytes())
    few = Image.open(drawn).convert("RGB").quantize(palette=palette, dither=Image.Dither.NONE)
    few.save(stored, format="png", optimize=True)
    return stored.getvalue()
