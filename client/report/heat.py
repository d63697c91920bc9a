"""A map over a slice: grey where nothing is, through orange to yellow where the map is strongest."""

import base64
import io
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from PIL import Image

from common.report.images import Picture, lesion_outline

_COLOURS = colormaps["inferno"]
"""Its brightness rises evenly, so that it reads alike in grey print and with any colour vision."""

_STRONGEST = 0.75
"""Opacity of the map's largest value: anatomy stays visible below it."""


def heat_picture(
    image: npt.NDArray[Any],
    heat: npt.NDArray[Any],
    alt: str,
    label: str = "",
    labels: npt.NDArray[np.uint8] | None = None,
    least: int = 192,
) -> Picture:
    """A slice with a map over it.

    Args:
        image: (H, W) in [0, 1]; values outside are clipped, NaN becomes 0.
        heat: (H, W) in [0, 1], likewise.
        alt: what a reader who cannot see it is told.
        label: the word above it.
        labels: (H, W), whose lesions are outlined.
        least: a picture with shorter sides is enlarged by a whole factor.

    Raises:
        ValueError: if the shapes differ.
    """
    if image.ndim != 2 or image.shape != heat.shape:
        raise ValueError(f"a slice (H, W) and a map of its size are needed, not {image.shape} and {heat.shape}")
    grey, strength = (np.clip(np.nan_to_num(one.astype(np.float64)), 0, 1)[..., None] for one in (image, heat))
    # The dark end of the palette is left out: a weak map must not look like a dark slice.
    colour = _COLOURS(0.35 + 0.6 * strength[..., 0])[..., :3]
    mixed = grey * (1 - _STRONGEST * strength) + colour * _STRONGEST * strength
    factor = max(1, -(-least // min(image.shape)))
    pixels = (mixed * 255).round().astype(np.uint8).repeat(factor, axis=0).repeat(factor, axis=1)
    height, width = image.shape
    outline = "" if labels is None else lesion_outline(labels)
    return Picture(_png(pixels), alt, label, outline, width, height)


def heat_scale() -> str:
    """The colours over a middle grey, from 0 to the largest value, as a PNG data URI of 160 x 12 pixels."""
    strength = np.tile(np.linspace(0, 1, 160), (12, 1))[..., None]
    colour = _COLOURS(0.35 + 0.6 * strength[..., 0])[..., :3]
    return _png(((0.5 * (1 - _STRONGEST * strength) + colour * _STRONGEST * strength) * 255).round().astype(np.uint8))


def _png(pixels: npt.NDArray[np.uint8]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
