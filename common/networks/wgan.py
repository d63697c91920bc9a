"""Generator and critic of whole slices: the "5-layer CNN" and the "CNN patch critic" of a WGAN-GP.

Both work at any image size that is a multiple of 32, because the generator starts from a map of size / 32. Both are
told, image by image, what is shown by a code. Neither holds batch statistics, so that the gradient of one image's
score depends on that image alone: the gradient penalty (Gulrajani et al. 2017) and per-patient clipping stand on that.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.errors import ConfigError
from common.study.conditions import CODE_GAIN

LAYERS = 5
"""Each doubles the resolution: from size / 32 to size."""

NORMS = ("instance", "pixel", "none")

GAIN = 2 / (1 + 0.2**2)
"""Weights that keep the size of a signal through a leaky rectifier of slope 0.2 (He et al. 2015); with torch's own
smaller ones the scores of a critic without normalisation start near 0."""


class StyledNorm(nn.Module):
    """A normalisation whose scale and shift come from a style, for each image its own.

    ``instance`` is adaptive instance normalisation (Huang & Belongie 2017), ``pixel`` divides each pixel's vector of
    channels by its root mean square (Karras et al. 2018), ``none`` scales and shifts only.
    """

    def __init__(self, channels: int, style_size: int, norm: str) -> None:
        super().__init__()
        self.norm = norm
        self.by_style = nn.Linear(style_size, 2 * channels)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """The maps ``x`` (B, C, H, W) normalised, then changed by ``style`` (B, S)."""
        if self.norm == "instance":
            x = F.instance_norm(x)
        elif self.norm == "pixel":
            x = x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()
        scale, shift = self.by_style(style).unflatten(1, (2, -1, 1, 1)).unbind(1)
        styled: Tensor = x * (1 + scale) + shift
        return styled


class SliceGenerator(nn.Module):
    """A slice from noise and a code, by five convolution layers.

    A layer is a transposed convolution (4x4, stride 2), which doubles the resolution and convolves in one; after the
    first four of them comes grain (white noise of each pixel, weighted by channel; Karras et al. 2019), a normalisation
    and a leaky rectifier. Not counted: the linear layers that turn noise and code into a style and into the base map,
    and those that set each normalisation's scale and shift by the style. The code reaches every depth through the
    style; as a constant input channel, normalisation would take it out.

    Channels: ``8 * width`` in the base map, then 8, 4, 2 and 1 times ``width``.

    Args:
        size: pixels along each side, a multiple of 32.
        channels: of the slice.
        noise_size: length of the noise.
        code_size: length of the code.
        width: channels before the last layer.
        norm: ``instance``, ``pixel`` or ``none``.

    Raises:
        ConfigError: for an unknown norm, or a size or width that cannot work.

    >>> import torch
    >>> generator = SliceGenerator(64, 1, noise_size=16, code_size=3, width=4)
    >>> generator(torch.zeros(2, 16), torch.zeros(2, 1, 64, 64), torch.zeros(2, 3)).shape
    torch.Size([2, 1, 64, 64])
    """

    def __init__(
        self, size: int, channels: int, *, noise_size: int, code_size: int, width: int = 64, norm: str = "instance"
    ) -> None:
        super().__init__()
        if norm not in NORMS:
            raise ConfigError(f"unknown norm {norm!r}; known: {', '.join(NORMS)}")
        if size < 32 or size % 32 or width < 1:
            raise ConfigError(f"a generator needs a size that is a multiple of 32 and a width, got {size} and {width}")
        self.base = size // 2**LAYERS
        widths = [8 * width, 8 * width, 4 * width, 2 * width, width]
        style_size = 2 * noise_size
        self.by_noise = nn.Linear(noise_size, style_size)
        self.by_code = nn.Linear(code_size, style_size, bias=False)
        nn.init.normal_(self.by_code.weight, std=0.5 / CODE_GAIN)
        self.to_base = nn.Linear(style_size, widths[0] * self.base**2)
        outputs = [*widths[1:], channels]
        self.layers = nn.ModuleList(
            nn.ConvTranspose2d(inside, outside, 4, stride=2, padding=1)
            for inside, outside in zip(widths, outputs, strict=True)
        )
        for layer, inside in zip(self.layers[:-1], widths, strict=False):
            assert isinstance(layer, nn.ConvTranspose2d)
            # A pixel of the result is a sum over 2x2 pixels.
            nn.init.normal_(layer.weight, std=(GAIN / (4 * inside)) ** 0.5)
        self.grain = nn.ParameterList(torch.full((1, outside, 1, 1), 0.1) for outside in outputs[:-1])
        self.norms = nn.ModuleList(StyledNorm(outside, style_size, norm) for outside in outputs[:-1])
        self.activation = nn.LeakyReLU(0.2)

    def forward(self, noise: Tensor, grain: Tensor, code: Tensor) -> Tensor:
        """(B, channels, size, size) without a final activation.

        Args:
            noise: (B, noise_size), normal; what the slice shows.
            grain: (B, 1, size, size), normal; its texture.
            code: (B, code_size).
        """
        style = self.activation(self.by_noise(noise) + self.by_code(CODE_GAIN * code))
        x: Tensor = self.activation(self.to_base(style)).unflatten(1, (-1, self.base, self.base))
        for layer, norm, weight in zip(self.layers[:-1], self.norms, self.grain, strict=True):
            x = layer(x)
            step = grain.shape[-1] // x.shape[-1]
            x = self.activation(norm(x + weight * grain[..., ::step, ::step], style))
        image: Tensor = self.layers[-1](x)
        return image


class Critic(nn.Module):
    """Scores of the patches of a slice, given its code; the slice's score is their mean.

    ``layers`` convolutions (4x4, stride 2) with leaky rectifiers and no normalisation, then a 3x3 convolution to one
    score a patch. The code enters by projection (Miyato & Koyama 2018): the scalar product of each patch's features
    with a vector that a small network makes of the code is added to its score. Four layers look at 78x78 patches, five
    at 158x158.

    Args:
        channels: of the slice.
        code_size: length of the code.
        width: channels after the first convolution, doubled by each of the next three.
        layers: how many times the resolution is halved.

    Raises:
        ConfigError: for a width or a number of layers below 1.

    >>> import torch
    >>> Critic(1, code_size=3, width=4)(torch.zeros(2, 1, 64, 64), torch.zeros(2, 3)).shape
    torch.Size([2, 1, 4, 4])
    """

    def __init__(self, channels: int, *, code_size: int, width: int = 64, layers: int = 4) -> None:
        super().__init__()
        if width < 1 or layers < 1:
            raise ConfigError(f"a critic needs width and layers of at least 1, got {width} and {layers}")
        self.smallest = 2**layers
        widths = [channels, *(width * min(2**level, 8) for level in range(layers))]
        self.layers = nn.ModuleList(
            nn.Conv2d(inside, outside, 4, stride=2, padding=1) for inside, outside in pairwise(widths)
        )
        for layer, inside in zip(self.layers, widths, strict=False):
            assert isinstance(layer, nn.Conv2d)
            nn.init.normal_(layer.weight, std=(GAIN / (16 * inside)) ** 0.5)
        self.score = nn.Conv2d(widths[-1], 1, 3, padding=1)
        self.by_code = nn.Sequential(
            nn.Linear(code_size, 4 * width), nn.LeakyReLU(0.2), nn.Linear(4 * width, widths[-1], bias=False)
        )
        self.activation = nn.LeakyReLU(0.2)

    def forward(self, images: Tensor, code: Tensor) -> Tensor:
        """(B, 1, h, w) scores from images (B, channels, H, W) and codes (B, code_size).

        Raises:
            ValueError: if the images are smaller than ``2**layers`` pixels.
        """
        if min(images.shape[-2:]) < self.smallest:
            raise ValueError(f"this critic needs at least {self.smallest} pixels, got {tuple(images.shape[-2:])}")
        x = images
        for layer in self.layers:
            x = self.activation(layer(x))
        wanted = self.by_code(code)[:, :, None, None]
        scores: Tensor = self.score(x) + (x * wanted).sum(1, keepdim=True)
        return scores
