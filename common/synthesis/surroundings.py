"""What lies around a blanked region, spread smoothly over it: where a generator starts from."""

import torch
import torch.nn.functional as F
from torch import Tensor

REACH = 9
"""Side in pixels of the square that is averaged, twice."""


def surroundings(images: Tensor, region: Tensor) -> Tensor:
    """(N, C, H, W): a local mean of the pixels outside the region, at every pixel (normalised convolution).

    Deep inside a region, where no known pixel is within reach, it is the mean of all known pixels. Pixels inside the
    region have no influence.

    Args:
        images: (N, C, H, W) in [0, 1].
        region: (N, 1, H, W), 1 where pixels are blanked and 0 elsewhere.

    Source: Knutsson and Westin 1993, Normalized and differential convolution.

    >>> ring = torch.tensor([[[[0.2, 0.2, 0.2], [0.2, 9.0, 0.2], [0.2, 0.2, 0.2]]]])
    >>> region = torch.zeros(1, 1, 3, 3)
    >>> region[..., 1, 1] = 1
    >>> round(surroundings(ring, region)[0, 0, 1, 1].item(), 3)
    0.2
    """
    known = 1 - region
    seen = torch.where(region > 0, torch.zeros_like(images), images)
    mean = seen.sum((2, 3), keepdim=True) / known.sum((2, 3), keepdim=True).clamp(min=1)
    least = 1e-4
    return (_spread(seen) + least * mean) / (_spread(known) + least)


def start_of_fill(images: Tensor, region: Tensor) -> Tensor:
    """(N, C, H, W) in [-0.96, 0.96]: where the values of a region start from, on the generator's scale.

    The generator's output is added to ``atanh`` of it, and ``tanh`` of the sum is the fill: an output of 0 gives the
    surroundings back, and none is out of reach.

    Args:
        images: (N, C, H, W) in [0, 1].
        region: (N, 1, H, W), 1 where pixels are blanked and 0 elsewhere.
    """
    return surroundings(images, region).clamp(0.02, 0.98) * 2 - 1


def _spread(maps: Tensor) -> Tensor:
    for _ in range(2):
        maps = F.avg_pool2d(maps, REACH, stride=1, padding=REACH // 2)
    return maps
