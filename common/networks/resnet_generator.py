"""The ResNet generator of CycleGAN (Johnson et al. 2016, Zhu et al. 2017), for any image size.

Differences from the paper's network, each for a reason: the decoder upsamples and convolves instead of transposing (no
checkerboard), and no operation works in place (per-patient gradients need the activations). InstanceNorm throughout:
statistics of a batch would mix patients, and a sum of two sites' gradients would no longer be the gradient of both.
"""

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from common.errors import ConfigError
from common.networks.upsampling import upsampled_reflected


def _convolution(before: int, after: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    # InstanceNorm takes every constant out again, so a bias before it would have no gradient but rounding noise.
    return nn.Conv2d(before, after, kernel, stride=stride, padding=kernel // 2, padding_mode="reflect", bias=False)


class Block(nn.Module):
    """A convolution with reflected borders, InstanceNorm and a rectifier; with ``upsample`` the image doubles first."""

    def __init__(self, before: int, after: int, kernel: int = 3, *, stride: int = 1, upsample: bool = False) -> None:
        super().__init__()
        self.upsample = upsample
        self.convolution = _convolution(before, after, kernel, stride)
        self.norm = nn.InstanceNorm2d(after, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        x = upsampled_reflected(x, self.convolution.weight) if self.upsample else self.convolution(x)
        return F.relu(self.norm(x))


class ResidualBlock(nn.Module):
    """Two convolutions beside the identity; no rectifier after the sum (Gross & Wilber 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = Block(channels, channels)
        self.second = _convolution(channels, channels, 3)
        self.norm = nn.InstanceNorm2d(channels, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        changed: Tensor = self.norm(self.second(self.first(x)))
        return x + changed


class ResnetGenerator(nn.Module):
    """An image to an image of the same size, without a final activation.

    A 7x7 convolution, ``downsamplings`` halvings that double the channels, ``blocks`` residual blocks, as many
    doublings of the size, a 7x7 convolution. With the paper's width 64, 9 blocks and 2 downsamplings it has 11.4 M
    parameters.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        width: channels at full resolution.
        blocks: residual blocks; the paper takes 9 from 256 pixels on and 6 below.
        downsamplings: how many times the resolution is halved; sides must be multiples of ``2**downsamplings``.

    Raises:
        ConfigError: for a width below 1 or a negative number of blocks or downsamplings.

    >>> import torch
    >>> ResnetGenerator(2, 1, width=4, blocks=2)(torch.zeros(3, 2, 20, 28)).shape
    torch.Size([3, 1, 20, 28])
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, width: int = 64, blocks: int = 9, downsamplings: int = 2
    ) -> None:
        super().__init__()
        if width < 1 or blocks < 0 or downsamplings < 0:
            raise ConfigError(
                f"a ResNet generator needs a width of at least 1, got width {width}, {blocks} blocks and "
                f"{downsamplings} downsamplings"
            )
        self.multiple = 2**downsamplings
        channels = [width * 2**level for level in range(downsamplings + 1)]
        self.layers = nn.Sequential(
            Block(in_channels, width, 7),
            *(Block(above, below, stride=2) for above, below in pairwise(channels)),
            *(ResidualBlock(channels[-1]) for _ in range(blocks)),
            *(Block(below, above, upsample=True) for below, above in pairwise(reversed(channels))),
            nn.Conv2d(width, out_channels, 7, padding=3, padding_mode="reflect"),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, out_channels, H, W) from (B, in_channels, H, W).

        Raises:
            ValueError: if a side is no multiple of ``2**downsamplings``, or so small that the reflected border would be
                wider than the image.
        """
        for side in x.shape[-2:]:
            if side % self.multiple or side < max(4, 2 * self.multiple):
                raise ValueError(
                    f"sides must be multiples of {self.multiple} and at least {max(4, 2 * self.multiple)} pixels, "
                    f"got {tuple(x.shape[-2:])}"
                )
        result: Tensor = self.layers(x)
        return result
