"""Tumour masks of a public shape: round, uneven blobs that no patient has had a part in.

Where patients are the unit of privacy, a mask of one patient must not be put into another's slice: the pair would then
speak of two patients, and be counted as one. These stand in for a site's own masks.
"""

import math

import torch
from torch import Tensor

from common.imaging.slices import SliceBatch, Slices
from common.synthesis.masks import draw_centres

WAVES = 4
"""How many harmonics bend an outline."""

RADII = (0.06, 0.2)
"""Smallest and largest radius, as a share of the slice's width: about 1 to 4 cm of a head or a liver."""


class PublicMasks:
    """Masks drawn from a fixed prior, in place of a :class:`common.synthesis.masks.MaskBank`.

    A brain's get the three BraTS parts one in another, other organs' the one lesion label.

    Args:
        slices: of which only organ, size and ``min_tumour_pixels`` are looked at.
    """

    from_patients = False

    def __init__(self, slices: Slices) -> None:
        self.slices = slices
        self.size = int(slices.patients[0].labels.shape[-1])

    def draw(self, count: int, generator: torch.Generator) -> SliceBatch:
        """``count`` masks in the middle of slices that show nothing."""
        whole = torch.ones(count, self.size, self.size, dtype=torch.bool)
        middle = torch.full((count, 2), (self.size - 1) / 2)
        labels = draw_blobs(middle, self.size, self.slices.organ, generator)
        channels = self.slices.patients[0].images.shape[1]
        images = torch.zeros(count, channels, self.size, self.size)
        return SliceBatch(images, labels, whole, whole, torch.zeros(count, dtype=torch.int64))


def blobs_inside(organ: Tensor, name: str, inset: int, generator: torch.Generator) -> Tensor:
    """(N, H, W) uint8: one mask centred at a random place of each ``organ`` (N, H, W) bool, cut at its edge.

    Args:
        organ: where a tumour can lie.
        name: of the organ.
        inset: how many pixels inside the edge the centre lies, where there is room.
        generator: CPU generator.
    """
    return draw_blobs(draw_centres(organ, inset, generator), organ.shape[-1], name, generator) * organ


def draw_blobs(centres: Tensor, size: int, organ: str, generator: torch.Generator) -> Tensor:
    """(N, S, S) uint8: round masks with uneven outlines about ``centres`` (N, 2), row and column."""
    count = len(centres)
    smallest, largest = (share * size for share in RADII)
    radius = smallest + (largest - smallest) * torch.rand(count, generator=generator)
    rows, columns = torch.meshgrid(torch.arange(size).float(), torch.arange(size).float(), indexing="ij")
    down, right = rows - centres[:, :1, None], columns - centres[:, 1:, None]
    angle = torch.atan2(down, right)
    bend = torch.zeros(count, size, size)
    for wave in range(1, WAVES + 1):
        height = 0.25 * torch.randn(count, 1, 1, generator=generator) / wave
        phase = 2 * math.pi * torch.rand(count, 1, 1, generator=generator)
        bend = bend + height * torch.cos(wave * angle + phase)
    distance = (down.square() + right.square()).sqrt() / (radius.view(-1, 1, 1) * bend.exp()).clamp(min=1)
    if organ != "brain":
        return (distance <= 1).to(torch.uint8)
    parts = torch.zeros(count, size, size, dtype=torch.uint8)
    for label, share in ((2, 1.0), (4, 0.65), (1, 0.4)):
        parts = torch.where(distance <= share, torch.tensor(label, dtype=torch.uint8), parts)
    return parts
