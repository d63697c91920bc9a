"""Convolution of an image doubled in size: on a CPU by less than half of the products, with the same result.

Weights, their names and what is computed are those of a plain convolution behind an interpolation; results agree up to
rounding. On a GPU, and in a compiled network, the plain way is taken: the libraries there do better by themselves.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_LEAST_PIXELS = 1024
"""Pixels of a result from which on the shortcut is worth the sums of its kernel (measured)."""


def upsampled(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """(B, K, 2H, 2W): ``x`` (B, C, H, W) doubled by repeating pixels, and convolved with ``weight`` (K, C, 3, 3).

    Borders are padded with zeros. The shortcut is one transposed convolution whose 4 x 4 kernel holds the sums of those
    taps that meet the same pixel: 4 products a pixel and channel where repeating first takes 9.

    >>> upsampled(torch.zeros(1, 2, 5, 6), torch.zeros(3, 2, 3, 3)).shape
    torch.Size([1, 3, 10, 12])
    """
    if not _pays(x):
        return F.conv2d(F.interpolate(x, scale_factor=2.0, mode="nearest"), weight, bias, padding=1)
    return F.conv_transpose2d(x, _summed(weight), bias, stride=2, padding=1)


def upsampled_reflected(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """As :func:`upsampled`, with reflected borders."""
    if not _pays(x):
        x = F.pad(F.interpolate(x, scale_factor=2.0, mode="nearest"), (1, 1, 1, 1), mode="reflect")
        return F.conv2d(x, weight, bias)
    # The pixel that reflection puts beyond the border of the doubled image is the border pixel's own copy.
    x = F.pad(x, (1, 1, 1, 1), mode="replicate")
    return F.conv_transpose2d(x, _summed(weight), bias, stride=2, padding=3)


def upsampled_beside(x: Tensor, skip: Tensor, convolution: nn.Conv2d) -> Tensor:
    """(B, K, H, W): ``x`` (B, C, h, w) enlarged to ``skip`` (B, S, H, W), and both convolved side by side.

    Args:
        x: what is enlarged by repeating pixels, the first C channels of the convolution.
        skip: the other S channels; an odd size is one that lost a pixel on the way down.
        convolution: 3 x 3, padded with zeros to the same size.
    """
    size = (skip.shape[-2], skip.shape[-1])
    if size != (2 * x.shape[-2], 2 * x.shape[-1]) or not _pays(x):
        result: Tensor = convolution(torch.cat([F.interpolate(x, size=size, mode="nearest"), skip], dim=1))
        return result
    # A sum over all channels is a sum of two, so the copy that would put them side by side is not needed either.
    ours, theirs = torch.split(convolution.weight, [x.shape[1], skip.shape[1]], dim=1)
    return upsampled(x, ours) + F.conv2d(skip, theirs, convolution.bias, padding=1)


def _pays(x: Tensor) -> bool:
    many = 4 * x.shape[-1] * x.shape[-2] >= _LEAST_PIXELS
    return many and x.device.type == "cpu" and not torch.compiler.is_compiling()


def _summed(weight: Tensor) -> Tensor:
    """(C, K, 4, 4), from (K, C, 3, 3): the kernel of the transposed convolution."""
    along = weight.new_tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 1.0, 1.0], [0.0, 0.0, 1.0]])
    with torch.autocast(weight.device.type, enabled=False):
        return torch.einsum("pa,qb,kcab->ckpq", along, along, weight.flip(2, 3))
