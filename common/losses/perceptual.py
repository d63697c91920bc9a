"""The perceptual loss (Johnson et al. 2016): distance between feature maps of a frozen network."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from common.errors import ConfigError
from common.features.efficientnet import efficientnet_lite0
from common.features.frozen import FrozenNetwork, split_contrasts
from common.features.vgg import vgg19
from common.study.experiment import WeightsConfig
from common.study.weights import resolve_weights

LAYERS = {
    "efficientnet_lite0": ("block0", "block2", "block4"),
    "vgg19": ("relu1_2", "relu2_2", "relu3_4", "relu4_4"),
}
"""Which maps are compared, by network: from 1/2 to 1/8 of the resolution."""


class PerceptualLoss(nn.Module):
    """Mean absolute difference of feature maps, averaged over a few layers of a frozen network.

    Each layer's difference is divided by the mean magnitude of the target's map, so that layers count alike. Images of
    several contrasts are compared contrast by contrast, at the size they have.

    Args:
        network: a frozen network.
        layers: names of its layers.
    """

    def __init__(self, network: FrozenNetwork, layers: Sequence[str]) -> None:
        super().__init__()
        self.network = network
        self.layers = tuple(layers)

    def forward(self, generated: Tensor, target: Tensor) -> Tensor:
        """Scalar from two sets of images (B, C, H, W) in [0, 1]; the gradient goes to ``generated`` alone."""
        with torch.no_grad():
            wanted = self.network.feature_maps(split_contrasts(target), self.layers)
        have = self.network.feature_maps(split_contrasts(generated), self.layers)
        differences = [(h - w).abs().mean() / w.abs().mean().clamp(min=1e-6) for h, w in zip(have, wanted, strict=True)]
        return torch.stack(differences).mean()


def perceptual_loss(name: str, weights: WeightsConfig | None = None) -> PerceptualLoss:
    """The loss on ``efficientnet_lite0`` (weights come with its package) or ``vgg19`` (``weights.vgg19``).

    Raises:
        ConfigError: for another name.
        WeightsError: if VGG19's weights are missing or do not fit.
    """
    if name == "efficientnet_lite0":
        return PerceptualLoss(efficientnet_lite0(), LAYERS[name])
    if name == "vgg19":
        return PerceptualLoss(vgg19(resolve_weights(weights or WeightsConfig(), [name])[name]), LAYERS[name])
    raise ConfigError(f"unknown perceptual network {name!r}; known: {', '.join(LAYERS)}")
