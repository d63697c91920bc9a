"""Slices of any size and pixel shape become squares."""

from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

Scalar = TypeVar("Scalar", bound=np.generic)


def fit_to_square(
    slices: npt.NDArray[Scalar], size: int, spacing: tuple[float, float], mode: Literal["area", "nearest"]
) -> npt.NDArray[Scalar]:
    """(..., H, W) scaled to fit (..., size, size), centred, the rest 0; one pixel is equally long in y and x.

    Args:
        spacing: millimetres along (y, x) before.
        mode: ``area`` for images (linear, with the antialiasing that shrinking needs), ``nearest`` for masks. Both put
            pixel centres at the same place.
    """
    height, width = slices.shape[-2:]
    long_side = max(height * spacing[0], width * spacing[1])
    shape = tuple(max(1, round(n * step / long_side * size)) for n, step in zip((height, width), spacing, strict=True))
    top, left = ((size - n) // 2 for n in shape)
    square = np.zeros((*slices.shape[:-2], size, size), slices.dtype)
    inner = square[..., top : top + shape[0], left : left + shape[1]]
    if mode == "nearest":
        inner[...] = slices.take(_nearest(width, shape[1]), axis=-1).take(_nearest(height, shape[0]), axis=-2)
    else:
        stack = torch.from_numpy(np.ascontiguousarray(slices)).reshape(-1, 1, height, width)
        shrinks = (
            shape[0] < height or shape[1] < width
        )  # Without shrinking, antialiasing costs time and changes nothing.
        scaled = F.interpolate(stack.float(), shape, mode="bilinear", antialias=shrinks, align_corners=False)
        inner[...] = scaled.numpy().reshape(inner.shape)
    return square


def _nearest(before: int, after: int) -> npt.NDArray[np.intp]:
    """(after,) which of ``before`` pixels lies at the centre of each new one."""
    return ((2 * np.arange(after) + 1) * before // (2 * after)).astype(np.intp)
