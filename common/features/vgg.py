"""VGG19, the network of the classic perceptual loss.

Source: Simonyan and Zisserman 2015; as a loss: Johnson et al. 2016.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn

from common.features.frozen import FrozenNetwork, as_colour, channel_constants
from common.study.weights import read_weights

CONVOLUTIONS = (2, 2, 4, 4, 4)
"""Convolutions between two poolings, one number a stage."""


class Vgg19(FrozenNetwork):
    """The convolutional part of torchvision's ``vgg19``; layers ``relu1_1`` (full size) to ``relu5_4`` (1/16)."""

    mean: Tensor
    deviation: Tensor
    layers = tuple(f"relu{stage}_{i}" for stage, n in enumerate(CONVOLUTIONS, 1) for i in range(1, n + 1))

    def __init__(self, weights: Path) -> None:
        super().__init__()
        # Built without memory: most of it is the classifier, which is thrown away.
        with torch.device("meta"):
            network = torchvision.models.vgg19(weights=None, init_weights=False)
        network.load_state_dict(read_weights(network, "vgg19", weights), assign=True)
        self.features = network.features
        for module in self.features:
            if isinstance(module, nn.ReLU):
                # In place it would overwrite the map that was handed out.
                module.inplace = False
        self.register_buffer("mean", channel_constants((0.485, 0.456, 0.406)), persistent=False)
        self.register_buffer("deviation", channel_constants((0.229, 0.224, 0.225)), persistent=False)
        self.freeze()

    def feature_maps(self, images: Tensor, layers: Sequence[str]) -> list[Tensor]:
        self._check(layers)
        x = (as_colour(images) - self.mean) / self.deviation
        found: dict[str, Tensor] = {}
        names = iter(self.layers)
        for module in self.features:
            x = module(x)
            if isinstance(module, nn.ReLU) and (name := next(names)) in layers:
                found[name] = x
            if len(found) == len(set(layers)):
                break
        return [found[name] for name in layers]


def vgg19(weights: Path) -> Vgg19:
    """The frozen network with the weights of a torchvision state dict (``common.study.weights.resolve_weights``).

    Raises:
        WeightsError: if the file does not hold VGG19's weights.
    """
    return Vgg19(weights)
