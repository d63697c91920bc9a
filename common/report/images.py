"""Slices as pictures inside the page: PNG data URIs, enlarged without blur, with lesion outlines as vectors."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from common.imaging.patient import LESION_LABELS


@dataclass(frozen=True)
class Picture:
    """One slice as the page shows it.

    Attributes:
        source: a ``data:image/png;base64,`` URI.
        alt: what a reader who cannot see it is told.
        label: the word above it; empty where a column heading says it.
        outline: SVG path data of the lesion's outline in pixels of the slice; empty without a lesion.
        width, height: pixels of the slice.
    """

    source: str
    alt: str
    label: str
    outline: str
    width: int
    height: int


def picture(image: npt.NDArray[Any], alt: str, label: str = "", labels: npt.NDArray[np.uint8] | None = None) -> Picture:
    """A slice (H, W) in [0, 1] with the outline of its label map (H, W), if one is given."""
    height, width = image.shape
    outline = "" if labels is None else lesion_outline(labels)
    return Picture(png_data_uri(image), alt, label, outline, width, height)


def png_data_uri(image: npt.NDArray[Any], least: int = 192) -> str:
    """A grey image as a PNG data URI.

    Args:
        image: (H, W) in [0, 1]; values outside are clipped, NaN becomes 0.
        least: an image with shorter sides is enlarged by a whole factor, each pixel repeated, so that no viewer or
            printer blurs it.
    """
    if image.ndim != 2:
        raise ValueError(f"a picture is one slice (H, W), not {image.shape}")
    grey = (np.clip(np.nan_to_num(image.astype(np.float64)), 0, 1) * 255).round().astype(np.uint8)
    factor = max(1, -(-least // min(grey.shape)))
    grey = grey.repeat(factor, axis=0).repeat(factor, axis=1)
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, format="PNG")
    return _data_uri(buffer.getvalue())


def file_data_uri(path: Path, widest: int = 1600) -> str:
    """An image file as a PNG data URI, made smaller if it is wider than ``widest`` pixels."""
    with Image.open(path) as opened:
        sheet = opened.convert("RGB") if opened.mode not in ("L", "RGB") else opened.copy()
    if sheet.width > widest:
        sheet = sheet.resize((widest, round(sheet.height * widest / sheet.width)), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG", optimize=True)
    return _data_uri(buffer.getvalue())


def lesion_outline(labels: npt.NDArray[np.uint8]) -> str:
    """SVG path data along the pixel edges between lesion and not lesion.

    Edges of pixels, not a smoothed contour: the outline shows exactly what counted as lesion.

    >>> import numpy as np
    >>> lesion_outline(np.array([[0, 0, 0], [0, 1, 4], [0, 0, 0]], dtype=np.uint8))
    'M1 1h2M1 2h2M1 1v1M3 1v1'
    """
    mask = np.pad(np.isin(labels, LESION_LABELS), 1)
    across = mask[:-1, 1:-1] != mask[1:, 1:-1]
    down = mask[1:-1, :-1] != mask[1:-1, 1:]
    parts = [f"M{start} {y}h{length}" for y in np.flatnonzero(across.any(axis=1)) for start, length in _runs(across[y])]
    parts += [f"M{x} {start}v{length}" for x in np.flatnonzero(down.any(axis=0)) for start, length in _runs(down[:, x])]
    return "".join(parts)


def _runs(flags: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """(start, length) of each stretch of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return [(int(a), int(b - a)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
