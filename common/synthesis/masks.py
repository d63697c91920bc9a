"""A site's tumour masks as a bank: drawn, deformed at random, and put inside another slice's organ.

Everything is drawn from a CPU generator that the caller seeds; positions are in pixels, label maps are uint8 with 0
and ``LESION_LABELS``.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from common.errors import DataError
from common.imaging.slices import SliceBatch, Slices, lesion_mask


@dataclass(frozen=True)
class Deformation:
    """How far a mask may be changed.

    Attributes:
        scale: smallest and largest size relative to the original.
        stretch: largest ratio by which one axis may exceed the other.
        elastic: standard deviation of the elastic displacement, as a share of the image's width.
        inset: how many pixels inside the organ's edge the mask's centre must lie.
    """

    scale: tuple[float, float] = (0.7, 1.3)
    stretch: float = 1.18
    elastic: float = 0.015
    inset: int = 3


class MaskBank:
    """The tumour slices of one site, as a source of masks.

    Args:
        slices: the site's slices; those with fewer than ``min_tumour_pixels`` lesion pixels are not used.

    Raises:
        DataError: if fewer than ``least`` slices qualify.
    """

    def __init__(self, slices: Slices, least: int = 1) -> None:
        self.slices = slices
        self.positions = torch.from_numpy(slices.tumour_positions())
        if len(self) < least:
            raise DataError(
                f"only {len(self)} slices hold at least {slices.min_tumour_pixels} tumour pixels, and {least} are "
                "needed to learn from; add patients with a tumour mask or lower the number of pixels"
            )

    def __len__(self) -> int:
        return len(self.positions)

    def draw(self, count: int, generator: torch.Generator) -> SliceBatch:
        """``count`` tumour slices, drawn with replacement."""
        return self.slices.batch(self.positions[torch.randint(len(self), (count,), generator=generator)])


def dilate(mask: Tensor, radius: int) -> Tensor:
    """(N, H, W) bool: ``mask`` grown by ``radius`` pixels in every direction (a square of side 2 radius + 1).

    >>> dilate(torch.tensor([[[False, False, True]]]), 1).tolist()
    [[[False, True, True]]]
    """
    if radius <= 0:
        return mask
    grown = F.max_pool2d(mask.float().unsqueeze(1), 2 * radius + 1, stride=1, padding=radius)
    return grown.squeeze(1) > 0


def erode(mask: Tensor, radius: int) -> Tensor:
    """(N, H, W) bool: ``mask`` shrunk by ``radius`` pixels; outside the image counts as inside the mask."""
    return ~dilate(~mask, radius)


def centroids(mask: Tensor) -> Tensor:
    """(N, 2) float32: mean row and column of each mask (N, H, W); the image's centre for an empty one."""
    weight = mask.float()
    area = weight.sum((1, 2))
    rows = torch.arange(mask.shape[1], dtype=torch.float32)
    columns = torch.arange(mask.shape[2], dtype=torch.float32)
    centre = torch.stack(
        [(weight.sum(2) * rows).sum(1) / area.clamp(min=1), (weight.sum(1) * columns).sum(1) / area.clamp(min=1)], dim=1
    )
    middle = torch.tensor([(mask.shape[1] - 1) / 2, (mask.shape[2] - 1) / 2])
    return torch.where(area.unsqueeze(1) > 0, centre, middle)


def draw_centres(organ: Tensor, inset: int, generator: torch.Generator) -> Tensor:
    """(N, 2) row and column: a random pixel at least ``inset`` inside each organ (N, H, W).

    An organ too thin for the inset gives any of its pixels.
    """
    inner = erode(organ, inset).flatten(1)
    usable = torch.where(inner.any(1, keepdim=True), inner, organ.flatten(1))
    index = torch.multinomial(usable.float() + 1e-9, 1, generator=generator).squeeze(1)
    return torch.stack([index // organ.shape[2], index % organ.shape[2]], dim=1).float()


def random_grid(
    labels: Tensor, centres: Tensor, deformation: Deformation, largest: int, generator: torch.Generator
) -> Tensor:
    """(N, H, W, 2) sampling grid that turns, flips, scales and bends each mask about its own centroid.

    Args:
        labels: (N, H, W) uint8, the masks to deform.
        centres: (N, 2) row and column that the centroid moves to.
        deformation: how far.
        largest: pixels that the deformed mask may extend to (before the elastic part), 0 for no limit.
        generator: CPU generator.

    Returns:
        Coordinates (x, y) for ``grid_sample(..., align_corners=False)``.
    """
    n, height, width = labels.shape

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(n, generator=generator)

    mask = lesion_mask(labels)
    origin = centroids(mask)
    angle, scale = uniform(-math.pi, math.pi), uniform(*deformation.scale)
    stretch = torch.exp(uniform(-1, 1) * math.log(deformation.stretch) / 2)
    flip = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    if largest:
        scale = torch.minimum(scale, largest / (2 * _radius(mask, origin) * deformation.stretch**0.5).clamp(min=1))

    # Output pixel -> source pixel: back to the centre, unscale, rotate, bend, out from the source centroid.
    rows, columns = torch.meshgrid(torch.arange(height).float(), torch.arange(width).float(), indexing="ij")
    offset = torch.stack([rows, columns], dim=-1) - centres.view(n, 1, 1, 2)
    cosine, sine = angle.cos(), angle.sin()
    matrix = torch.stack(
        [
            torch.stack([flip * cosine / (scale * stretch), -sine / (scale * stretch)], dim=1),
            torch.stack([flip * sine * stretch / scale, cosine * stretch / scale], dim=1),
        ],
        dim=1,
    )
    source = torch.einsum("nij,nhwj->nhwi", matrix, offset) + origin.view(n, 1, 1, 2)
    bend = torch.randn(n, 2, 9, 9, generator=generator) * deformation.elastic * width
    source = source + F.interpolate(bend, size=(height, width), mode="bicubic", align_corners=True).movedim(1, -1)
    size = torch.tensor([height, width]).float()
    return ((2 * source + 1) / size - 1).flip(-1)


def _radius(mask: Tensor, origin: Tensor) -> Tensor:
    """(N,) distance from ``origin`` to the farthest pixel of each mask, plus half a pixel."""
    rows, columns = torch.meshgrid(torch.arange(mask.shape[1]), torch.arange(mask.shape[2]), indexing="ij")
    distance = (rows - origin[:, 0].view(-1, 1, 1)) ** 2 + (columns - origin[:, 1].view(-1, 1, 1)) ** 2
    return (distance * mask).flatten(1).amax(1).sqrt() + 0.5


def warp_labels(labels: Tensor, grid: Tensor) -> Tensor:
    """(N, H, W) uint8: label maps sampled at ``grid`` by nearest neighbour, 0 outside."""
    sampled = F.grid_sample(labels.float().unsqueeze(1), grid, mode="nearest", align_corners=False)
    return sampled.squeeze(1).to(torch.uint8)


def warp_images(images: Tensor, grid: Tensor) -> Tensor:
    """(N, C, H, W): images sampled at ``grid`` bilinearly, 0 outside."""
    return F.grid_sample(images, grid, mode="bilinear", align_corners=False)


@dataclass(frozen=True)
class PlacedMasks:
    """Masks put into other slices.

    Attributes:
        labels: (N, H, W) uint8, zero outside the organ.
        grid: (N, H, W, 2), where each pixel was sampled from in the source slice.
        source: the slices that the masks come from.
    """

    labels: Tensor
    grid: Tensor
    source: SliceBatch


class Masks(Protocol):
    """Where masks are drawn from."""

    slices: Slices

    def draw(self, count: int, generator: torch.Generator) -> SliceBatch:
        """``count`` slices with a mask."""
        ...


def place_masks(
    bank: Masks,
    organ: Tensor,
    deformation: Deformation,
    *,
    largest: int = 0,
    generator: torch.Generator,
    attempts: int = 20,
    must_fit: bool = True,
) -> PlacedMasks:
    """One deformed mask of the bank inside each organ (N, H, W), with at least ``min_tumour_pixels`` of the bank left.

    A mask that loses too many pixels at the organ's edge is drawn again, place and all.

    Args:
        must_fit: otherwise an organ in which no draw fits keeps an empty mask.

    Raises:
        DataError: if after ``attempts`` draws a mask still does not fit, and it must.
    """
    n = len(organ)
    least = bank.slices.min_tumour_pixels
    source = bank.draw(n, generator)
    labels, grid = _place(source.labels, organ, deformation, largest, generator)
    for _ in range(attempts):
        bad = (lesion_mask(labels).flatten(1).sum(1) < least).nonzero().squeeze(1)
        if not len(bad):
            return PlacedMasks(labels, grid, source)
        again = bank.draw(len(bad), generator)
        for whole, part in zip(
            (source.images, source.labels, source.foreground, source.organ, source.patients, labels, grid),
            (
                again.images,
                again.labels,
                again.foreground,
                again.organ,
                again.patients,
                *_place(again.labels, organ[bad], deformation, largest, generator),
            ),
            strict=True,
        ):
            whole[bad] = part
    if not must_fit:
        labels[lesion_mask(labels).flatten(1).sum(1) < least] = 0
        return PlacedMasks(labels, grid, source)
    raise DataError(
        f"no mask with at least {least} pixels fits into the organ on some healthy slices; check that the"
        " organ is not nearly empty, or lower the number of pixels"
    )


def _place(
    labels: Tensor, organ: Tensor, deformation: Deformation, largest: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    centres = draw_centres(organ, deformation.inset, generator)
    grid = random_grid(labels, centres, deformation, largest, generator)
    return warp_labels(labels, grid) * organ, grid
