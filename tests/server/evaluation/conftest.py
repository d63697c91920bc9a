"""Reference slices and features that cost nothing."""

import numpy as np
import pytest
import torch
from torch import Tensor

from common.imaging.slices import PatientSlices, Slices

SIZE = 32


class PooledPixels:
    """Features that cost nothing: the image at an eighth of its size."""

    name = "Pooled"
    distance_name = "FD-Pooled"
    fingerprint = "pooled"

    def features(self, images: Tensor) -> Tensor:
        return torch.nn.functional.avg_pool2d(images, 8).flatten(1)


def two_contrasts(number: int) -> PatientSlices:
    """Six slices of a disc; the second contrast is 0.9 minus the first inside it; half the slices hold a lesion."""
    random = torch.Generator().manual_seed(number)
    y, x = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    inside = ((y - 16) ** 2 + (x - 16) ** 2 < (11 + number % 4) ** 2).expand(6, SIZE, SIZE)
    texture = torch.nn.functional.avg_pool2d(torch.rand(6, 1, SIZE, SIZE, generator=random), 5, 1, 2)[:, 0] * 0.6 + 0.2
    lesion = ((y - 12 - number % 5) ** 2 + (x - 15) ** 2 < 16).expand(6, SIZE, SIZE).clone()
    lesion[::2] = False
    first = torch.where(lesion, texture * 0.5 + 0.4, texture) * inside
    images = torch.stack([first, (0.9 - first) * inside], dim=1).clamp(0, 1)
    return PatientSlices(
        f"patient{number}",
        images.numpy().astype(np.float16),
        lesion.numpy().astype(np.uint8) * 4,
        inside.numpy().astype(np.uint8),
    )


@pytest.fixture(scope="session")
def both_contrasts() -> Slices:
    return Slices("brain", ("t1", "t2"), [two_contrasts(i) for i in range(8)])


@pytest.fixture(scope="session")
def extractor() -> PooledPixels:
    return PooledPixels()
