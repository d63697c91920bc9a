"""Makes a network of PyTorch's own layers use this package's faster ones; its weights and their names stay."""

from torch import nn

from common.networks.convolution import Convolution
from common.networks.normalisation import InstanceNorm


def accelerate(network: nn.Module) -> None:
    """Replaces every plain ``nn.Conv2d`` and affine ``nn.InstanceNorm2d`` below ``network``, in place.

    The replacement holds the same parameters, so an optimiser that was built before still trains them.

    >>> network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.InstanceNorm2d(2, affine=True))
    >>> accelerate(network)
    >>> [type(layer).__name__ for layer in network]
    ['Convolution', 'InstanceNorm']
    """
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Conv2d:
                setattr(parent, name, Convolution.like(child))
            elif type(child) is nn.InstanceNorm2d and child.affine and not child.track_running_stats:
                setattr(parent, name, InstanceNorm.like(child))
