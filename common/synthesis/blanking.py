"""Which region of a slice is blanked, and which window around it the generator sees."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from common.imaging.slices import lesion_mask
from common.synthesis.masks import centroids, dilate


def draw_margins(count: int, margins: tuple[int, int], generator: torch.Generator) -> Tensor:
    """(count,) int64: a margin in pixels for each slice, both ends possible."""
    return torch.randint(margins[0], margins[1] + 1, (count,), generator=generator)


def blanked_region(labels: Tensor, foreground: Tensor, margins: Tensor) -> Tensor:
    """(N, H, W) bool: the tumour mask grown by each slice's margin, inside the foreground.

    The margin varies, so that a generator cannot tell from the region alone where the tumour's edge is.
    """
    mask = lesion_mask(labels)
    region = torch.zeros_like(mask)
    for margin in sorted(set(margins.tolist())):
        chosen = margins == margin
        region[chosen] = dilate(mask[chosen], int(margin))
    return region & foreground


@dataclass(frozen=True)
class Windows:
    """Square windows of one size, one a slice.

    Attributes:
        top, left: (N,) int64, first row and column.
        size: pixels along each side.
    """

    top: Tensor
    left: Tensor
    size: int

    def cut(self, maps: Tensor) -> Tensor:
        """(N, ..., size, size): each window of ``maps`` (N, ..., H, W), copied."""
        return torch.stack(
            [
                one[..., top : top + self.size, left : left + self.size]
                for one, top, left in zip(maps, self.top.tolist(), self.left.tolist(), strict=True)
            ]
        )

    def paste(self, crops: Tensor, maps: Tensor) -> Tensor:
        """(N, ..., H, W): a copy of ``maps`` with each window replaced by its crop."""
        whole = maps.clone()
        for one, crop, top, left in zip(whole, crops, self.top.tolist(), self.left.tolist(), strict=True):
            one[..., top : top + self.size, left : left + self.size] = crop
        return whole


def windows_around(region: Tensor, size: int, *, jitter: int = 0, generator: torch.Generator | None = None) -> Windows:
    """Windows of ``size`` pixels centred on each region (N, H, W) and moved at random by up to ``jitter`` pixels.

    They stay inside the image. ``size`` 0, or a size above the image's, means the whole image (which must be square).

    >>> region = torch.zeros(1, 8, 8, dtype=torch.bool)
    >>> region[0, 6, 1] = True
    >>> windows = windows_around(region, 4)
    >>> windows.top.item(), windows.left.item()
    (4, 0)
    """
    height, width = region.shape[1:]
    if size <= 0 or size >= min(height, width):
        if height != width:
            raise ValueError(f"a window over the whole image needs a square image, got {height}x{width}")
        nothing = torch.zeros(len(region), dtype=torch.int64)
        return Windows(nothing, nothing.clone(), height)
    centre = centroids(region).round().long()
    if jitter:
        centre = centre + torch.randint(-jitter, jitter + 1, centre.shape, generator=generator)
    corner = centre - size // 2
    return Windows(corner[:, 0].clamp(0, height - size), corner[:, 1].clamp(0, width - size), size)


def window_sizes(region: Tensor, smallest: int, context: int, multiple: int) -> Tensor:
    """(N,) int64: the window that holds each whole region and ``context`` pixels around it.

    It is ``smallest`` where that suffices, else larger by a multiple of ``multiple``, and at most the image; a region
    near the border of a large image may still touch its window's edge, never leave it. ``smallest`` 0 means the
    whole image.
    """
    height, width = region.shape[1:]
    whole = min(height, width)
    if smallest <= 0 or smallest >= whole:
        return torch.full((len(region),), whole, dtype=torch.int64)
    centre = centroids(region).round().long()
    needed = torch.zeros(len(region), dtype=torch.int64)
    for axis, length in ((0, height), (1, width)):
        present = region.any(2 - axis)
        index = torch.arange(length)
        distance = (index.unsqueeze(0) - centre[:, axis : axis + 1]).abs() * present
        needed = torch.maximum(needed, 2 * (distance.amax(1) + 1 + context))
    extra = ((needed - smallest).clamp(min=0) + multiple - 1) // multiple * multiple
    return (smallest + extra).clamp(max=whole)


def groups_of(sizes: Tensor, most: int) -> Sequence[tuple[int, Tensor]]:
    """Positions of equal size together, at most ``most`` at a time: (size, (n,) int64)."""
    return [
        (int(size), part)
        for size in sorted(set(sizes.tolist()))
        for part in (sizes == size).nonzero().squeeze(1).split(most)
    ]
