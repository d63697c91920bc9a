"""The architecture of the Fréchet Inception Distance's network: torchvision's Inception-v3 with the original poolings.

Source: Szegedy et al. 2016 (Inception-v3); Heusel et al. 2017 (FID). The weights come from the TensorFlow graph of
2015-12-05, whose average poolings leave the padding out and whose last block pools by maximum.
"""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor
from torchvision.models import inception

CLASSES = 1008


def _average_pool(x: Tensor) -> Tensor:
    """The mean over the neighbours that exist; torchvision counts the padding in."""
    return F.avg_pool2d(x, kernel_size=3, stride=1, padding=1, count_include_pad=False)


def _max_pool(x: Tensor) -> Tensor:
    return F.max_pool2d(x, kernel_size=3, stride=1, padding=1)


class _OriginalPool:
    """Gives one of torchvision's blocks the pooling of the original graph; goes before the block in the bases."""

    pool: Callable[[Tensor], Tensor] = staticmethod(_average_pool)
    branch_pool: Callable[[Tensor], Tensor]

    def _forward(self, x: Tensor) -> list[Tensor]:
        *branches, _ = super()._forward(x)  # type: ignore[misc]
        return [*branches, self.branch_pool(self.pool(x))]


class _InceptionA(_OriginalPool, inception.InceptionA):  # type: ignore[misc]
    pass


class _InceptionC(_OriginalPool, inception.InceptionC):  # type: ignore[misc]
    pass


class _InceptionE(_OriginalPool, inception.InceptionE):  # type: ignore[misc]
    pass


def fid_inception_network() -> inception.Inception3:
    """The architecture alone, without weights: what the state dict ``pt_inception-2015-12-05`` fits into."""
    blocks = [
        inception.BasicConv2d,
        _InceptionA,
        inception.InceptionB,
        _InceptionC,
        inception.InceptionD,
        _InceptionE,
        inception.InceptionAux,
    ]
    network = inception.Inception3(num_classes=CLASSES, aux_logits=False, inception_blocks=blocks, init_weights=False)
    network.Mixed_7c.pool = _max_pool
    return network
