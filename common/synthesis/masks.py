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
from common.synthesis.room import draw_shifts, moved

_NARROW = 1 / 32
"""Half the width of what of an organ is too narrow for a lesion, as a share of the slice's width."""


@dataclass(frozen=True)
class Deformation:
    """How far a mask may be changed.

    Attributes:
        scale: smallest and largest size relative to the original.
        stretch: largest ratio by which one axis may exceed the other.
        elastic: standard deviation of the elastic displacement, as a share of the image's width.
        inset: how many pixels inside the organ's edge the mask's centre lies, where there is room.
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

    from_patients = True

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
        labels: (N, H, W) uint8, wholly inside the organ; all 0 where no mask fitted.
        grid: (N, H, W, 2), where each pixel was sampled from in the source slice.
        source: the slices that the masks come from.
    """

    labels: Tensor
    grid: Tensor
    source: SliceBatch

    @property
    def fitted(self) -> Tensor:
        """(N,) bool."""
        return lesion_mask(self.labels).flatten(1).any(1)

    def take(self, other: "PlacedMasks", at: Tensor) -> None:
        """The masks of ``other`` in place of those at some positions (n,)."""
        for whole, part in zip(self._tensors(), other._tensors(), strict=True):
            whole[at] = part

    def _tensors(self) -> tuple[Tensor, ...]:
        one = self.source
        return self.labels, self.grid, one.images, one.labels, one.foreground, one.organ, one.patients


class Masks(Protocol):
    """Where masks are drawn from.

    Attributes:
        slices: of the site.
        from_patients: whether the place of a mask in its slice means anything.
    """

    slices: Slices
    from_patients: bool

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
    """One deformed mask of the bank wholly inside each organ (N, H, W), of at least the bank's ``min_tumour_pixels``.

    A mask for which an organ has no place is drawn again. Places where the mask lay in the organ of its own slice,
    or in its mirror image, are preferred; narrow parts of an organ are none.

    Args:
        must_fit: otherwise an organ in which no draw fits keeps an empty mask.

    Raises:
        DataError: if after ``attempts`` draws no mask fits, and one must.
    """
    room = broad_parts(organ)
    placed = _place(bank, room, deformation, largest, generator)
    for _ in range(attempts):
        bad = (~placed.fitted).nonzero().squeeze(1)
        if not len(bad):
            break
        placed.take(_place(bank, room[bad], deformation, largest, generator), bad)
    if must_fit and not placed.fitted.all():
        raise DataError(
            f"no mask with at least {bank.slices.min_tumour_pixels} pixels fits into the organ on some "
            f"healthy slices; add healthy slices that show more of it, or lower "
            f"organs.{bank.slices.organ}.min_tumour_pixels"
        )
    return placed


def broad_parts(organ: Tensor) -> Tensor:
    """(N, H, W) bool: each organ without what is narrow (ears, fringes of an outline); all of it if half would go."""
    reach = max(1, round(organ.shape[-1] * _NARROW))
    kept = dilate(~dilate(F.pad(~organ, [reach] * 4, value=True), reach), reach)[:, reach:-reach, reach:-reach]
    enough = kept.flatten(1).sum(1) >= 0.5 * organ.flatten(1).sum(1)
    return torch.where(enough.view(-1, 1, 1), kept & organ, organ)


def _place(
    bank: Masks, room: Tensor, deformation: Deformation, largest: int, generator: torch.Generator
) -> PlacedMasks:
    source = bank.draw(len(room), generator)
    middle = torch.tensor([(room.shape[1] - 1) / 2, (room.shape[2] - 1) / 2]).expand(len(room), -1)
    grid = random_grid(source.labels, middle, deformation, largest, generator)
    labels = warp_labels(source.labels, grid)
    mask = lesion_mask(labels)
    wanted = _same_place(source, room, generator) if bank.from_patients else None
    inner = erode(F.pad(room, [deformation.inset] * 4), deformation.inset)
    inner = inner[:, deformation.inset : inner.shape[1] - deformation.inset]
    inner = inner[:, :, deformation.inset : inner.shape[2] - deformation.inset]
    shift, fits = draw_shifts(mask, room, centroids(mask), wanted, inner, generator)
    fits &= mask.flatten(1).sum(1) >= max(1, bank.slices.min_tumour_pixels)
    return PlacedMasks(moved(labels, shift) * fits.view(-1, 1, 1), moved(grid, shift), source)


def _same_place(source: SliceBatch, room: Tensor, generator: torch.Generator) -> Tensor:
    """(N, 2) row and column of the place in each room that is that of the lesion in its own organ, or its mirror image.

    Only the slice that the mask comes from is looked at, which the mask speaks of already.
    """
    (top, left), (height, width) = _boxes(source.organ)
    there = (centroids(lesion_mask(source.labels)) - torch.stack([top, left], 1)) / torch.stack([height, width], 1)
    mirrored = torch.rand(len(room), generator=generator) < 0.5
    there[:, 1] = torch.where(mirrored, 1 - there[:, 1], there[:, 1])
    (top, left), (height, width) = _boxes(room)
    return torch.stack([top, left], 1) + there * torch.stack([height, width], 1)


def _boxes(mask: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """First row and column of each mask, and its height and width less a pixel, at least 1; float32."""
    firsts, sizes = [], []
    for held in (mask.any(2), mask.any(1)):
        first = held.float().argmax(1)
        last = held.shape[1] - 1 - held.flip(1).float().argmax(1)
        firsts.append(first.float())
        sizes.append((last - first).clamp(min=1).float())
    return (firsts[0], firsts[1]), (sizes[0], sizes[1])
