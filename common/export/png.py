"""Grey images as PNG, without any text beside the pixels."""

import io

import numpy as np
import numpy.typing as npt
from PIL import Image


def png_bytes(grey: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]) -> bytes:
    """A PNG file of ``grey`` (H, W): 8 or 16 bits a pixel, as its type says."""
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, "png")
    return buffer.getvalue()
