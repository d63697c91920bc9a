"""The U-Net generator of pix2pix (Isola et al. 2017), for any image size.

Differences from the paper's network, each for a reason: the decoder upsamples and convolves instead of transposing
(no checkerboard), the first block keeps the full resolution (lesion rims at small crop sizes), InstanceNorm replaces
BatchNorm (batch statistics would mix patients, and cannot be averaged over sites), and no operation works in place
(per-patient gradients need the activations). A code that says what is shown (organ, contrasts) scales and shifts the
maps after each normalisation: as a constant input channel it would be taken out again by the first one.
"""

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from common.errors import ConfigError
from common.networks.upsampling import upsampled_beside
from common.study.conditions import CODE_GAIN

NORMS = ("instance", "none")


class ConditionalNorm(nn.InstanceNorm2d):
    """InstanceNorm with learnt scale and shift, which a code changes (conditional instance normalisation, Dumoulin et
    al. 2017). A map of one pixel has no variance and passes without being normalised.

    Args:
        channels: of the maps.
        code_size: length of the code; 0 for none.
    """

    def __init__(self, channels: int, code_size: int = 0) -> None:
        super().__init__(channels, affine=True)
        self.by_code: nn.Linear | None = None
        if code_size:
            self.by_code = nn.Linear(code_size, 2 * channels, bias=False)
            nn.init.normal_(self.by_code.weight, std=0.1 / CODE_GAIN)

    def forward(self, x: Tensor, code: Tensor | None = None) -> Tensor:
        """The maps ``x`` (B, C, H, W) normalised; ``code`` (K,) holds for the whole batch."""
        weight, bias = self.weight, self.bias
        if self.by_code is not None and code is not None:
            scale, shift = self.by_code(CODE_GAIN * code).chunk(2)
            weight, bias = weight * (1 + scale), bias * (1 + scale) + shift
        if x.shape[-1] * x.shape[-2] == 1:
            return x * weight.view(1, -1, 1, 1) + bias.view(1, -1, 1, 1)
        return F.instance_norm(x, weight=weight, bias=bias, eps=self.eps)


class Block(nn.Module):
    """A convolution, a normalisation unless ``norm`` is ``none``, and a leaky rectifier."""

    def __init__(self, convolution: nn.Conv2d, norm: str, code_size: int) -> None:
        super().__init__()
        self.convolution = convolution
        self.norm = ConditionalNorm(convolution.out_channels, code_size) if norm == "instance" else None
        self.activation = nn.LeakyReLU(0.2)

    def forward(self, x: Tensor, code: Tensor | None = None) -> Tensor:
        return self._finished(self.convolution(x), code)

    def _finished(self, x: Tensor, code: Tensor | None) -> Tensor:
        if self.norm is not None:
            x = self.norm(x, code)
        result: Tensor = self.activation(x)
        return result


class UpBlock(Block):
    """A block on maps that are enlarged to the size of a skip connection and put beside it."""

    def join(self, x: Tensor, skip: Tensor, code: Tensor | None) -> Tensor:
        """(B, K, H, W) from ``x`` (B, C, h, w) and ``skip`` (B, S, H, W)."""
        return self._finished(upsampled_beside(x, skip, self.convolution), code)


class UNet(nn.Module):
    """Encoder and decoder with skip connections; the output has the input's size and no final activation.

    Channels double at each level up to ``8 * width``. At width 64 and depth 8 it has about 52 M parameters.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        width: channels at full resolution.
        depth: how many times the resolution is halved; the input must be at least ``2**depth`` pixels wide.
        norm: ``instance`` or ``none``.
        code_size: length of the code that says what is shown; 0 for none.

    Raises:
        ConfigError: for an unknown norm or a depth or width below 1.

    >>> import torch
    >>> UNet(5, 1, width=8, depth=2)(torch.zeros(2, 5, 20, 27)).shape
    torch.Size([2, 1, 20, 27])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        width: int = 64,
        depth: int = 8,
        norm: str = "instance",
        code_size: int = 0,
    ) -> None:
        super().__init__()
        if norm not in NORMS:
            raise ConfigError(f"unknown norm {norm!r}; known: {', '.join(NORMS)}")
        if width < 1 or depth < 1:
            raise ConfigError(f"a U-Net needs width and depth of at least 1, got {width} and {depth}")
        self.depth = depth
        channels = [width * min(2**level, 8) for level in range(depth + 1)]
        self.entry = Block(nn.Conv2d(in_channels, width, 3, padding=1), "none", 0)
        self.down = nn.ModuleList(
            Block(nn.Conv2d(above, below, 4, stride=2, padding=1), norm, code_size)
            for above, below in pairwise(channels)
        )
        self.bottleneck = Block(nn.Conv2d(channels[-1], channels[-1], 3, padding=1), norm, code_size)
        self.up = nn.ModuleList(
            UpBlock(nn.Conv2d(below + above, above, 3, padding=1), norm, code_size)
            for above, below in zip(reversed(channels[:-1]), reversed(channels[1:]), strict=True)
        )
        self.exit = nn.Conv2d(width, out_channels, 3, padding=1)

    def forward(self, x: Tensor, code: Tensor | None = None) -> Tensor:
        """(B, out_channels, H, W) from (B, in_channels, H, W), and the code (K,) of all B images.

        Raises:
            ValueError: if the image is smaller than ``2**depth`` pixels.
        """
        if min(x.shape[-2:]) < 2**self.depth:
            raise ValueError(f"a U-Net of depth {self.depth} needs at least {2**self.depth} pixels, got {x.shape[-2:]}")
        x = self.entry(x)
        skips = []
        for down in self.down:
            skips.append(x)
            x = down(x, code)
        x = self.bottleneck(x, code)
        for up in self.up:
            assert isinstance(up, UpBlock)
            skip = skips.pop()
            x = up.join(x, skip, code)
        result: Tensor = self.exit(x)
        return result
