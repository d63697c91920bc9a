"""The U-Net generator of pix2pix (Isola et al. 2017), for any image size.

Differences from the paper's network, each for a reason: the decoder upsamples and convolves instead of transposing
(no checkerboard), the first block keeps the full resolution (lesion rims at small crop sizes), InstanceNorm replaces
BatchNorm (batch statistics would mix patients, and cannot be averaged over sites), and no operation works in place
(per-patient gradients need the activations).
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.errors import ConfigError

NORMS = ("instance", "none")


class InstanceNorm(nn.InstanceNorm2d):
    """InstanceNorm with learnt scale and shift; a map of one pixel has no variance and passes with the affine only."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] * x.shape[-2] == 1:
            return x * self.weight.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)
        return super().forward(x)


def _block(convolution: nn.Conv2d, norm: str) -> nn.Sequential:
    layers: list[nn.Module] = [convolution]
    if norm == "instance":
        layers.append(InstanceNorm(convolution.out_channels))
    return nn.Sequential(*layers, nn.LeakyReLU(0.2))


class UNet(nn.Module):
    """Encoder and decoder with skip connections; the output has the input's size and no final activation.

    Channels double at each level up to ``8 * width``. At width 64 and depth 8 it has about 52 M parameters.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        width: channels at full resolution.
        depth: how many times the resolution is halved; the input must be at least ``2**depth`` pixels wide.
        norm: ``instance`` or ``none``.

    Raises:
        ConfigError: for an unknown norm or a depth or width below 1.

    >>> UNet(5, 1, width=8, depth=2)(torch.zeros(2, 5, 20, 27)).shape
    torch.Size([2, 1, 20, 27])
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, width: int = 64, depth: int = 8, norm: str = "instance"
    ) -> None:
        super().__init__()
        if norm not in NORMS:
            raise ConfigError(f"unknown norm {norm!r}; known: {', '.join(NORMS)}")
        if width < 1 or depth < 1:
            raise ConfigError(f"a U-Net needs width and depth of at least 1, got {width} and {depth}")
        self.depth = depth
        channels = [width * min(2**level, 8) for level in range(depth + 1)]
        self.entry = _block(nn.Conv2d(in_channels, width, 3, padding=1), "none")
        self.down = nn.ModuleList(
            _block(nn.Conv2d(above, below, 4, stride=2, padding=1), norm) for above, below in pairwise(channels)
        )
        self.bottleneck = _block(nn.Conv2d(channels[-1], channels[-1], 3, padding=1), norm)
        self.up = nn.ModuleList(
            _block(nn.Conv2d(below + above, above, 3, padding=1), norm)
            for above, below in zip(reversed(channels[:-1]), reversed(channels[1:]), strict=True)
        )
        self.exit = nn.Conv2d(width, out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, out_channels, H, W) from (B, in_channels, H, W).

        Raises:
            ValueError: if the image is smaller than ``2**depth`` pixels.
        """
        if min(x.shape[-2:]) < 2**self.depth:
            raise ValueError(f"a U-Net of depth {self.depth} needs at least {2**self.depth} pixels, got {x.shape[-2:]}")
        x = self.entry(x)
        skips = []
        for down in self.down:
            skips.append(x)
            x = down(x)
        x = self.bottleneck(x)
        for up in self.up:
            skip = skips.pop()
            # To the skip's own size: an odd size loses a pixel on the way down.
            x = up(torch.cat([F.interpolate(x, size=skip.shape[-2:], mode="nearest"), skip], dim=1))
        result: Tensor = self.exit(x)
        return result
