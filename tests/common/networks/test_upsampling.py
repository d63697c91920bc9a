"""The shortcut gives what the plain way gives, values and gradients, at every kind of border."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.networks import upsampling
from common.networks.upsampling import upsampled, upsampled_beside, upsampled_reflected


def draws(*shapes: tuple[int, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_() for shape in shapes]


def both_ways(function, inputs: list[Tensor], monkeypatch: pytest.MonkeyPatch) -> tuple[list[Tensor], list[Tensor]]:
    """Result and gradients by the shortcut and by the plain way."""
    found = []
    for least in (1, 10**9):
        monkeypatch.setattr(upsampling, "_LEAST_PIXELS", least)
        result = function(*inputs)
        weights = torch.linspace(-1, 1, result.numel(), dtype=result.dtype).view_as(result)
        found.append([result, *torch.autograd.grad((result * weights).sum(), inputs)])
    return found[0], found[1]


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (8, 8)])
def test_zero_borders(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = draws((2, 3, *size), (4, 3, 3, 3), (4,))
    for ours, plain in zip(*both_ways(upsampled, inputs, monkeypatch), strict=True):
        torch.testing.assert_close(ours, plain)


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (8, 8)])
def test_reflected_borders(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = draws((2, 3, *size), (4, 3, 3, 3), (4,))
    for ours, plain in zip(*both_ways(upsampled_reflected, inputs, monkeypatch), strict=True):
        torch.testing.assert_close(ours, plain)


@pytest.mark.parametrize("skip", [(8, 12), (9, 13)])
def test_beside_a_skip_connection_of_even_or_odd_size(skip: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    convolution = nn.Conv2d(5, 4, 3, padding=1).double()
    inputs = draws((2, 3, 4, 6), (2, 2, *skip))

    def function(x: Tensor, beside: Tensor) -> Tensor:
        return upsampled_beside(x, beside, convolution)

    for ours, plain in zip(*both_ways(function, inputs, monkeypatch), strict=True):
        torch.testing.assert_close(ours, plain)


def test_the_sums_of_the_kernel_are_not_rounded_to_bfloat16() -> None:
    (x, weight) = (one.detach().float() for one in draws((1, 8, 16, 16), (8, 8, 3, 3)))
    exact = F.conv2d(F.interpolate(x, scale_factor=2.0), weight, padding=1)
    with torch.autocast("cpu", torch.bfloat16):
        ours = upsampled(x, weight).float()
        plain = F.conv2d(F.interpolate(x, scale_factor=2.0), weight, padding=1).float()
    assert ours.dtype == exact.dtype
    assert (ours - exact).abs().mean() < 1.5 * (plain - exact).abs().mean()
