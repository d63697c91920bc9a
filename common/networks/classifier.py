"""The two tumour classifiers: a small residual network with GroupNorm, and ResNet-50.

Both give one logit a slice, and both are cut into ``maps`` (the last feature maps, for Grad-CAM), ``features`` (one
vector a slice, for t-SNE) and the whole.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models import resnet50

from common.errors import ConfigError
from common.networks.dropout import Dropout
from common.study.experiment import WeightsConfig
from common.study.weights import load_weights, resolve_weights

_MEAN, _SPREAD = 0.25, 0.22
"""Roughly the grey values of a slice, so that the first convolution sees numbers around zero."""
_IMAGENET_MEAN, _IMAGENET_SPREAD = 0.449, 0.226
"""ImageNet's channel means and deviations, averaged over red, green and blue."""


class TumourClassifier(nn.Module):
    """What every classifier offers. ``forward`` gives logits (B,) from images (B, C, H, W) in [0, 1]."""

    head: nn.Linear

    def maps(self, x: Tensor) -> Tensor:
        """(B, F, h, w): the last feature maps."""
        raise NotImplementedError

    def pooled(self, maps: Tensor) -> Tensor:
        """(B, D): one vector from each stack of maps."""
        raise NotImplementedError

    def features(self, x: Tensor) -> Tensor:
        """(B, D): what the head sees."""
        return self.pooled(self.maps(x))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(x))
        return logits.squeeze(1)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with GroupNorm and a shortcut (He et al. 2016; Wu & He 2018); nothing in place.

    The resolution is halved by averaging first: no pixel is skipped, and the convolutions stay cheap.
    """

    def __init__(self, inward: int, outward: int) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(2)
        self.body = nn.Sequential(
            nn.Conv2d(inward, outward, 3, padding=1, bias=False),
            _group_norm(outward),
            nn.ReLU(),
            nn.Conv2d(outward, outward, 3, padding=1, bias=False),
            _group_norm(outward),
        )
        self.shortcut = nn.Sequential(nn.Conv2d(inward, outward, 1, bias=False), _group_norm(outward))
        self.activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(x)
        result: Tensor = self.activation(self.body(x) + self.shortcut(x))
        return result


def _group_norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(max(g for g in (1, 2, 4, 8) if channels % g == 0), channels)


class SmallResNet(TumourClassifier):
    """A stem and two residual blocks for slices of 64 to 128 pixels; 73 k parameters at width 16 and one contrast.

    The head sees the mean and the maximum of each map: a small lesion moves the maximum, not the mean.

    >>> SmallResNet(2, width=8)(torch.zeros(3, 2, 64, 64)).shape
    torch.Size([3])
    """

    def __init__(self, in_channels: int, *, width: int = 16) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(in_channels, width, 5, stride=2, padding=2, bias=False),
            _group_norm(width),
            nn.ReLU(),
            ResidualBlock(width, 2 * width),
            ResidualBlock(2 * width, 4 * width),
        )
        self.dropout = Dropout(0.2)
        self.head = nn.Linear(8 * width, 1)

    def maps(self, x: Tensor) -> Tensor:
        maps: Tensor = self.body((x - _MEAN) / _SPREAD)
        return maps

    def pooled(self, maps: Tensor) -> Tensor:
        pooled: Tensor = self.dropout(torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], dim=1))
        return pooled


class ResNet50Classifier(TumourClassifier):
    """ResNet-50 (He et al. 2016) with one logit, for any number of contrasts.

    ImageNet's first convolution expects red, green and blue. Its weights are summed over the colours and shared out
    over the contrasts; for one contrast that equals repeating the slice three times.

    Args:
        in_channels: contrasts of a slice.
        weights: a file with torchvision's ``resnet50`` state dict, or None for random weights.

    Raises:
        WeightsError: if the file does not hold a ResNet-50.
    """

    def __init__(self, in_channels: int, *, weights: Path | None = None) -> None:
        super().__init__()
        network = resnet50(weights=None)
        if weights is not None:
            load_weights(network, "imagenet_resnet50", weights)
        colours = network.conv1
        network.conv1 = nn.Conv2d(in_channels, 64, 7, 2, 3, bias=False)
        with torch.no_grad():
            network.conv1.weight.copy_(colours.weight.sum(1, keepdim=True).expand(-1, in_channels, -1, -1))
            network.conv1.weight.div_(in_channels)
        self.head = nn.Linear(network.fc.in_features, 1)
        network.fc = nn.Identity()
        network.avgpool = nn.Identity()
        self.network = network

    def maps(self, x: Tensor) -> Tensor:
        n = self.network
        x = (x - _IMAGENET_MEAN) / _IMAGENET_SPREAD
        x = n.maxpool(n.relu(n.bn1(n.conv1(x))))
        maps: Tensor = n.layer4(n.layer3(n.layer2(n.layer1(x))))
        return maps

    def pooled(self, maps: Tensor) -> Tensor:
        return maps.mean((2, 3))


def build_classifier(
    network: str,
    in_channels: int,
    *,
    width: int = 16,
    pretrained: bool = False,
    weights: WeightsConfig | None = None,
) -> TumourClassifier:
    """The classifier named ``small_resnet`` or ``resnet50``.

    Raises:
        ConfigError: for another name, or for pre-trained weights of a network that has none.
        WeightsError: if ``pretrained`` is asked for and ``weights.imagenet_resnet50`` is missing or does not fit.
    """
    if network == "small_resnet":
        if pretrained:
            raise ConfigError("classifier.pretrained: small_resnet has no pre-trained weights; use resnet50 or false")
        return SmallResNet(in_channels, width=width)
    if network == "resnet50":
        name = "imagenet_resnet50"
        path = resolve_weights(weights or WeightsConfig(), [name])[name] if pretrained else None
        return ResNet50Classifier(in_channels, weights=path)
    raise ConfigError(f"classifier.network: unknown network {network!r}; known: small_resnet, resnet50")
