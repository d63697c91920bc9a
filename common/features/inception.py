"""The features of the Fréchet Inception Distance. Source: Heusel et al. 2017."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from common.features.frozen import FrozenNetwork, as_colour, resized
from common.features.inception_architecture import fid_inception_network
from common.study.weights import load_weights

SIZE = 299


class FidInception(FrozenNetwork):
    """Inception-v3 up to its 2048 pooled features."""

    layers = ("Mixed_5d", "Mixed_6e", "Mixed_7c")

    def __init__(self, weights: Path) -> None:
        super().__init__()
        self.network = fid_inception_network()
        load_weights(self.network, "fid_inception", weights)
        self.freeze()

    def feature_maps(self, images: Tensor, layers: Sequence[str]) -> list[Tensor]:
        self._check(layers)
        x = as_colour(images) * 2 - 1
        found: dict[str, Tensor] = {}
        for name, part in self.network.named_children():
            x = part(x)
            if name in layers:
                found[name] = x
            if len(found) == len(set(layers)):
                break
        return [found[name] for name in layers]

    def forward(self, images: Tensor) -> Tensor:
        """(B, 2048) features of images (B, C, H, W) in [0, 1], resized to 299 x 299 first."""
        return self.feature_maps(resized(images, SIZE), ["Mixed_7c"])[0].mean((2, 3))


def fid_inception(weights: Path) -> FidInception:
    """The frozen network with the standard FID weights.

    Raises:
        WeightsError: if the file does not hold them.
    """
    return FidInception(weights)
