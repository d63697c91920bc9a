"""Convolutions that take the cheapest way to the same result on a CPU; on a GPU the library knows better.

Weights, their names and what is computed are those of ``nn.Conv2d``; results agree up to rounding.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.networks.winograd import TILE, tiles, winograd

_LEAST_CHANNELS = 64
_LEAST_TILES = 256
_LEAST_SAVING = 2.0
"""Measured: with less, cutting tiles costs more than the products that it saves."""

_LEAST_UPSAMPLED = 256
"""Pixels of a result from which on an upsampled convolution is worth the sums of its kernel."""


class Convolution(nn.Conv2d):
    """``nn.Conv2d`` that works by :func:`convolve`.

    >>> convolution = Convolution(64, 64, 3, padding=1)
    >>> convolution(torch.zeros(1, 64, 64, 64)).shape
    torch.Size([1, 64, 64, 64])
    """

    @classmethod
    def like(cls, other: nn.Conv2d) -> "Convolution":
        """The same convolution with the same weights, not a copy of them."""
        made = cls.__new__(cls)
        made.__dict__.update(other.__dict__)
        return made

    def forward(self, x: Tensor) -> Tensor:
        """As ``nn.Conv2d``."""
        simple = self.dilation == (1, 1) and self.groups == 1 and self.stride[0] == self.stride[1]
        if not simple or isinstance(self.padding, str) or self.padding[0] != self.padding[1]:
            return super().forward(x)
        mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
        return convolve(x, self.weight, self.bias, stride=self.stride[0], padding=self.padding[0], mode=mode)


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, *, stride: int = 1, padding: int = 0, mode: str = "constant"
) -> Tensor:
    """``F.conv2d``, by :func:`winograd` where that pays.

    Args:
        x: (B, C, H, W).
        weight: (K, C, r, r).
        bias: (K,) or None.
        stride: the same in both directions.
        padding: pixels on each side.
        mode: how they are filled, as for ``F.pad``.
    """
    # A kernel of 4 in steps of 2 is a kernel of 2 in steps of 1 on the image folded into four times the channels.
    fold = stride if _plain(x, weight) and _by_tiles(x, weight, stride, padding) else 0
    if padding and (fold or mode != "constant"):
        x, padding = F.pad(x, (padding,) * 4, mode=mode), 0
    if not fold:
        return F.conv2d(x, weight, bias, stride=stride, padding=padding)
    if fold > 1:
        x, weight = F.pixel_unshuffle(x, fold), F.pixel_unshuffle(weight, fold)
    result = winograd(x, weight)
    return result if bias is None else result + bias.view(1, -1, 1, 1)


def upsampled(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """(B, K, 2H, 2W): ``x`` (B, C, H, W) doubled by repeating pixels, and convolved with ``weight`` (K, C, 3, 3).

    Borders are padded with zeros. On a CPU this is one transposed convolution whose 4 x 4 kernel holds the sums of
    those taps that meet the same pixel: 4 products a pixel and channel where repeating first takes 9.

    >>> upsampled(torch.zeros(1, 2, 5, 6), torch.zeros(3, 2, 3, 3)).shape
    torch.Size([1, 3, 10, 12])
    """
    if not _plain(x, weight) or 4 * x.shape[-1] * x.shape[-2] < _LEAST_UPSAMPLED:
        return F.conv2d(F.interpolate(x, scale_factor=2.0, mode="nearest"), weight, bias, padding=1)
    return F.conv_transpose2d(x, _summed(weight), bias, stride=2, padding=1)


def convolve_beside(x: Tensor, skip: Tensor, convolution: nn.Conv2d) -> Tensor:
    """(B, K, H, W): ``x`` (B, C, h, w) enlarged to ``skip`` (B, S, H, W), both convolved side by side.

    Args:
        x: what is enlarged by repeating pixels, the first C channels of the convolution.
        skip: the other S channels; an odd size is one that lost a pixel on the way down.
        convolution: 3 x 3, padded with zeros to the same size.
    """
    height, width = skip.shape[-2:]
    if (
        not _plain(x, convolution.weight)
        or (height, width) != (2 * x.shape[-2], 2 * x.shape[-1])
        or height * width < _LEAST_UPSAMPLED
    ):
        beside: Tensor = convolution(torch.cat([F.interpolate(x, size=(height, width), mode="nearest"), skip], dim=1))
        return beside
    # A sum over the channels is the sum of two, so the copy that puts them side by side is not needed either.
    ours, theirs = torch.split(convolution.weight, [x.shape[1], skip.shape[1]], dim=1)
    return upsampled(x, ours) + convolve(skip, theirs, convolution.bias, padding=1)


def upsampled_reflected(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """As :func:`upsampled`, with reflected borders."""
    if not _plain(x, weight) or 4 * x.shape[-1] * x.shape[-2] < _LEAST_UPSAMPLED:
        x = F.pad(F.interpolate(x, scale_factor=2.0, mode="nearest"), (1, 1, 1, 1), mode="reflect")
        return F.conv2d(x, weight, bias)
    # The pixel beyond the border of the doubled image is the border pixel's own copy.
    x = F.pad(x, (1, 1, 1, 1), mode="replicate")
    return F.conv_transpose2d(x, _summed(weight), bias, stride=2, padding=3)


def _summed(weight: Tensor) -> Tensor:
    """(C, K, 4, 4), from (K, C, 3, 3)."""
    along = weight.new_tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 1.0, 1.0], [0.0, 0.0, 1.0]])
    return torch.einsum("pa,qb,kcab->ckpq", along, along, weight.flip(2, 3))


def _plain(x: Tensor, weight: Tensor) -> bool:
    return (
        x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


def _by_tiles(x: Tensor, weight: Tensor, stride: int, padding: int) -> bool:
    """Whether cutting tiles costs less than the products that it saves."""
    kernel = weight.shape[-1]
    height, width = (side + 2 * padding for side in x.shape[-2:])
    if (
        weight.shape[-2] != kernel
        or (stride, kernel) not in ((1, 3), (1, 4), (2, 4))
        or height % stride
        or width % stride
    ):
        return False
    kernel //= stride
    results = (height // stride - kernel + 1, width // stride - kernel + 1)
    count = len(x) * tiles(results[0], kernel) * tiles(results[1], kernel)
    plain = len(x) * results[0] * results[1] * kernel**2
    return (
        min(weight.shape[0], weight.shape[1] * stride**2) >= _LEAST_CHANNELS
        and count >= _LEAST_TILES
        and plain >= _LEAST_SAVING * count * TILE**2
    )
