"""Spectral normalisation (Miyato et al. 2018): every convolution's weights are divided by their largest singular value.

A discriminator that is normalised so cannot change its answer faster than its input changes, which keeps the gradients
that its generator learns from at one scale.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

_FIRST_ITERATIONS = 15
"""From random vectors to ones that are good enough to start with, as in torch's own."""


class SpectralNorm(nn.Module):
    """The parametrisation of one weight; the singular value is followed by one power iteration a forward pass.

    It computes what ``torch.nn.utils.parametrizations.spectral_norm`` computes, with two differences that a federation
    needs. It works in full precision inside a bf16 region, where the two vectors would lose the singular value. And the
    vectors, which are buffers and so travel and are averaged like weights, may arrive at any length: the mean of unit
    vectors is shorter than 1.

    Args:
        weight: (K, ...) with which the vectors start.

    Attributes:
        left: (K,), right: (...) flattened, the first singular vectors.
    """

    left: Tensor
    right: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        matrix = weight.detach().flatten(1)
        self.register_buffer("left", torch.randn(matrix.shape[0]))
        self.register_buffer("right", torch.randn(matrix.shape[1]))
        self.settle(weight, _FIRST_ITERATIONS)

    @torch.no_grad()
    def settle(self, weight: Tensor, iterations: int = 1) -> None:
        """Brings the vectors nearer to the singular vectors of ``weight``."""
        matrix = weight.flatten(1)
        for _ in range(iterations):
            self.left.copy_(F.normalize(matrix @ self.right, dim=0))
            self.right.copy_(F.normalize(matrix.T @ self.left, dim=0))

    def forward(self, weight: Tensor) -> Tensor:
        """``weight`` over its largest singular value."""
        with torch.autocast(weight.device.type, enabled=False):
            if self.training:
                self.settle(weight)
            # Copies, because the next pass moves the vectors before this one's gradients are taken.
            left, right = F.normalize(self.left, dim=0).clone(), F.normalize(self.right, dim=0).clone()
            return weight / torch.dot(left, weight.flatten(1) @ right)


def normalise_spectrally(network: nn.Module) -> None:
    """Puts every convolution below ``network`` under :class:`SpectralNorm`, in place.

    Its weight is then called ``parametrizations.weight.original``.

    >>> layer = nn.Sequential(nn.Conv2d(1, 2, 3))
    >>> normalise_spectrally(layer)
    >>> bool(torch.linalg.matrix_norm(layer[0].weight.flatten(1), 2) < 1.01)
    True
    """
    for layer in list(network.modules()):
        if isinstance(layer, nn.Conv2d):
            parametrize.register_parametrization(layer, "weight", SpectralNorm(layer.weight))


def settle(network: nn.Module, iterations: int = 1) -> None:
    """Brings the singular vectors below ``network`` up to date where its weights change without a forward pass."""
    for layer in network.modules():
        if isinstance(layer, parametrize.ParametrizationList) and isinstance(layer[0], SpectralNorm):
            layer[0].settle(layer.original, iterations)
