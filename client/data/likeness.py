"""How alike two slices are, whatever size, encoding, brightness or margin they were saved with: one is moved onto the
other, and what is inside both is compared.

Slices are looked at on one small grid. Their finest details (noise, what a lossy encoding leaves) and their coarsest
(the outline, shading) are taken out before they are compared: all heads have the latter in common.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

GRID = 64
"""Pixels along each side of what is compared."""

_HALF = GRID // 2
_FINE, _COARSE = 1.0, 4.0
"""Standard deviations, in pixels of the grid, between which details are compared."""
_STEPS = ((_HALF, 2.0, 5), (GRID, 1.5, 3))
"""Size of the grid, blur in its pixels, and steps of the search for the shift that fits, one after the other."""
_MOST_SCALE, _MOST_SHIFT = 0.2, 0.2
"""Furthest that a slice is stretched and moved, as a share of the grid: a margin that was cut off, no other anatomy."""
_PROMISING = 0.85
"""Likeness after the first search below which two slices are taken to differ."""
_AT_ONCE = 512


def thumbnails(images: Tensor) -> Tensor:
    """(B, 1, GRID, GRID) of slices or maps (B, C, H, W): the mean over channels, on the grid.

    >>> thumbnails(torch.rand(2, 3, 96, 96)).shape
    torch.Size([2, 1, 64, 64])
    """
    mean = images.float().mean(1, keepdim=True)
    if mean.shape[-1] < GRID or mean.shape[-2] < GRID:
        return F.interpolate(mean, size=(GRID, GRID), mode="bilinear", align_corners=False)
    return F.interpolate(mean, size=(GRID, GRID), mode="area")


def detail(images: Tensor, inside: Tensor) -> Tensor:
    """(B, 1, GRID, GRID): the details of slices inside ``inside`` (same shape, 0 to 1), free of the outline's edge."""
    mean = (images * inside).sum((2, 3), keepdim=True) / inside.sum((2, 3), keepdim=True).clamp_min(1e-6)
    filled = inside * images + (1 - inside) * mean
    return (blurred(filled, _FINE) - blurred(filled, _COARSE)) * inside


def coarse_codes(images: Tensor) -> Tensor:
    """(B, 256) unit vectors whose dot product tells which slices are worth a closer look."""
    band = blurred(images, 1.5) - blurred(images, 8.0)
    return _unit(F.interpolate(band, size=(16, 16), mode="area").flatten(1))


def likeness(first: Tensor, second: Tensor, first_inside: Tensor, second_inside: Tensor) -> Tensor:
    """(B,) correlation in [-1, 1] of the details of pairs of slices, after the second was moved onto the first.

    Args:
        first, second: (B, 1, GRID, GRID) thumbnails.
        first_inside, second_inside: the same of their foreground, 0 to 1.

    Source: Lucas and Kanade 1981, An iterative image registration technique, with an affine shift, a gain and a level.
    """
    chunks = [
        _likeness(*(one[start : start + _AT_ONCE] for one in (first, second, first_inside, second_inside)))
        for start in range(0, len(first), _AT_ONCE)
    ]
    return torch.cat(chunks) if chunks else torch.zeros(0)


def _likeness(first: Tensor, second: Tensor, first_inside: Tensor, second_inside: Tensor) -> Tensor:
    found = _compared(first, second, first_inside, second_inside)
    moved = torch.eye(2, 3).repeat(len(first), 1, 1)
    left = torch.arange(len(first))
    for size, blur, steps in _STEPS:
        if not len(left):
            break
        one, other = (blurred(_sized(image[left], size), blur) for image in (first, second))
        moved[left] = _moved(one, other, moved[left], steps)
        shifted = [_warped(image[left], moved[left]) for image in (second, second_inside)]
        now = _compared(first[left], shifted[0], first_inside[left], shifted[1] * _seen(moved[left]))
        found[left] = torch.maximum(found[left], now)
        left = left[found[left] > _PROMISING]
    return found


def blurred(images: Tensor, sigma: float) -> Tensor:
    """Images (B, 1, H, W) under a Gaussian of ``sigma`` pixels."""
    reach = min(int(3 * sigma + 0.5), images.shape[-1] - 1)
    at = torch.arange(-reach, reach + 1, dtype=torch.float32)
    kernel = torch.exp(-(at**2) / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    rows = F.conv2d(F.pad(images, (reach, reach, 0, 0), mode="replicate"), kernel.view(1, 1, 1, -1))
    return F.conv2d(F.pad(rows, (0, 0, reach, reach), mode="replicate"), kernel.view(1, 1, -1, 1))


def _sized(images: Tensor, size: int) -> Tensor:
    return images if size == images.shape[-1] else F.interpolate(images, size=(size, size), mode="area")


def _compared(first: Tensor, second: Tensor, first_inside: Tensor, second_inside: Tensor) -> Tensor:
    both = first_inside * second_inside
    one, other = (detail(image, both).flatten(1) for image in (first, second))
    shares = both.sum((1, 2, 3)) / torch.minimum(first_inside.sum((1, 2, 3)), second_inside.sum((1, 2, 3))).clamp_min(1)
    return torch.where(shares > 0.8, (_unit(one) * _unit(other)).sum(1), torch.zeros(len(first)))


def _unit(values: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(values, dim=1, keepdim=True)
    return values / length.clamp_min(1e-4)


def _warped(images: Tensor, moved: Tensor) -> Tensor:
    places = F.affine_grid(moved, list(images.shape), align_corners=False)
    return F.grid_sample(images, places, padding_mode="border", align_corners=False)


def _seen(moved: Tensor) -> Tensor:
    """(B, 1, GRID, GRID): 1 where what is moved there lay on the grid before."""
    places = F.affine_grid(moved, [len(moved), 1, GRID, GRID], align_corners=False)
    return (places.abs() <= 1).all(-1, keepdim=True).permute(0, 3, 1, 2).float()


def _moved(first: Tensor, second: Tensor, moved: Tensor, steps: int) -> Tensor:
    """(B, 2, 3) affine maps that carry ``second`` onto ``first``, from ``moved`` on."""
    size = first.shape[-1]
    at = (torch.arange(size) * 2 + 1) / size - 1
    y, x = (one.flatten() for one in torch.meshgrid(at, at, indexing="ij"))
    wanted = first.flatten(1)
    last = torch.tensor([[[0.0, 0.0, 1.0]]]).repeat(len(moved), 1, 1)
    identity = torch.eye(2, 3)
    reach = torch.tensor([_MOST_SCALE, _MOST_SCALE, _MOST_SHIFT])
    for _ in range(steps):
        shown = _warped(second, moved)
        down, across = torch.gradient(shown[:, 0], dim=(1, 2))
        down, across = (one.flatten(1) * size / 2 for one in (down, across))
        flat = shown.flatten(1)
        columns = (across * x, across * y, across, down * x, down * y, down, flat, torch.ones_like(flat))
        slopes = torch.stack(columns, 2)
        normal = slopes.transpose(1, 2) @ slopes
        damping = 1e-3 * torch.diag_embed(torch.diagonal(normal, dim1=1, dim2=2)) + 1e-6 * torch.eye(8)
        towards = slopes.transpose(1, 2) @ (wanted - flat)[..., None]
        step = torch.linalg.solve(normal + damping, towards)[:, :6, 0].view(-1, 2, 3).clamp(-0.1, 0.1)
        moved = (torch.cat([moved, last], 1) @ torch.cat([identity + step, last], 1))[:, :2]
        moved = identity + torch.clamp(moved - identity, -reach, reach)
    return moved
