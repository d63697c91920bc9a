"""Convolution by minimal filtering (Winograd): the same sums with a quarter to a half of the multiplications.

Tiles of 6 x 6 pixels and the kernel are taken to a domain in which a convolution is a product at each of 36 points;
those products are 36 matrix products over the channels, which is where the time goes. Everything is made of
differentiable operations, so gradients of any order go the same way.

Source: Lavin and Gray 2016, with Toom and Cook's matrices at the points 0, 1, -1, 2, -2 and infinity. In float32 the
result differs from a plain convolution's by about 1e-5 of the largest value.
"""

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

TILE = 6
_POINTS = (0.0, 1.0, -1.0, 2.0, -2.0)


def winograd(x: Tensor, weight: Tensor) -> Tensor:
    """(B, K, H - r + 1, W - r + 1): the convolution of ``x`` (B, C, H, W) with ``weight`` (K, C, r, r), unpadded.

    Args:
        x: float32, already padded.
        weight: r is 2, 3 or 4.

    >>> winograd(torch.ones(1, 2, 5, 7), torch.ones(3, 2, 3, 3)).shape
    torch.Size([1, 3, 3, 5])
    """
    batch, channels, height, width = x.shape
    wanted, _, kernel, _ = weight.shape
    step = TILE - kernel + 1
    down, across = tiles(height - kernel + 1, kernel), tiles(width - kernel + 1, kernel)
    to_result, of_kernel, of_tile = _matrices(kernel, x.device)

    overlap = kernel - 1
    x = F.pad(x, (0, across * step + overlap - width, 0, down * step + overlap - height))
    # Channels innermost: a tile's row is then one stretch of memory.
    cut = _Cut.apply(x.permute(0, 2, 3, 1).contiguous(), step)
    turned = of_tile @ cut.reshape(TILE, -1)
    turned = torch.matmul(of_tile, turned.view(TILE, TILE, -1)).view(TILE * TILE, -1, channels)
    kernels = (of_kernel @ weight.permute(2, 3, 1, 0).reshape(kernel * kernel, -1)).view(TILE * TILE, channels, wanted)
    products = torch.bmm(turned, kernels)
    result = to_result @ products.view(TILE, -1)
    result = torch.matmul(to_result, result.view(step, TILE, -1)).view(step, step, batch, down, across, wanted)
    result = result.permute(2, 3, 0, 4, 1, 5).reshape(batch, down * step, across * step, wanted)
    return result[:, : height - overlap, : width - overlap].permute(0, 3, 1, 2).contiguous()


def tiles(length: int, kernel: int) -> int:
    """How many tiles a row of ``length`` results takes.

    >>> tiles(8, kernel=3), tiles(9, kernel=3)
    (2, 3)
    """
    return -(-length // (TILE - kernel + 1))


@cache
def _matrices(kernel: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """To the result (m, 6), of the kernel in both directions at once (36, r * r), and of a tile (6, 6)."""

    def powers(count: int) -> Tensor:
        infinity = [0.0] * (count - 1) + [1.0]
        rows = [[point**power for power in range(count)] for point in _POINTS]
        return torch.tensor([*rows, infinity], dtype=torch.float64)

    one = powers(kernel)
    matrices = (powers(TILE - kernel + 1).T, torch.kron(one, one), torch.linalg.inv(powers(TILE)).T)
    to_result, of_kernel, of_tile = (matrix.contiguous().float().to(device) for matrix in matrices)
    return to_result, of_kernel, of_tile


class _Cut(Function):
    """(6, 6, B, down, across, C): the tiles of an image (B, H, W, C), one every ``step`` pixels."""

    generate_vmap_rule = True

    @staticmethod
    def forward(image: Tensor, step: int) -> Tensor:
        return image.unfold(1, TILE, step).unfold(2, TILE, step).permute(4, 5, 0, 1, 2, 3).contiguous()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.step = inputs[1]

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return _Sum.apply(gradients[0], ctx.step), None


class _Sum(Function):
    """The transpose of cutting: tiles put side by side, added up where they overlap."""

    generate_vmap_rule = True

    @staticmethod
    def forward(cut: Tensor, step: int) -> Tensor:
        overlap = TILE - step
        _, _, batch, down, across, channels = cut.shape
        image = cut.new_empty(batch, down + 1, step, across + 1, step, channels)
        image[:, down].zero_()
        image[:, :, :, across].zero_()
        view = image.permute(2, 4, 0, 1, 3, 5)
        view[:, :, :, :down, :across].copy_(cut[:step, :step])
        view[:overlap, :, :, 1:, :across].add_(cut[step:, :step])
        view[:, :overlap, :, :down, 1:].add_(cut[:step, step:])
        view[:overlap, :overlap, :, 1:, 1:].add_(cut[step:, step:])
        image = image.view(batch, (down + 1) * step, (across + 1) * step, channels)
        return image[:, : down * step + overlap, : across * step + overlap].contiguous()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.step = inputs[1]

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return _Cut.apply(gradients[0], ctx.step), None
