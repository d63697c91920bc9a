"""Adversarial losses with one signature: what the discriminator minimises and what the generator minimises.

All take logits (B, 1, h, w) or (B, 1), real and generated, and an optional weight map (B, 1, H, W) of any size that
says where the loss counts; it is averaged down to the size of the logits.
"""

from typing import Protocol

import torch.nn.functional as F
from torch import Tensor

from common.errors import ConfigError


def weighted_mean(values: Tensor, weight: Tensor | None) -> Tensor:
    """The mean of ``values`` (B, 1, h, w), counted by ``weight`` (B, 1, H, W); 0 where all the weight is 0.

    >>> import torch
    >>> weighted_mean(torch.tensor([[[[1.0, 3.0]]]]), torch.tensor([[[[1.0, 0.0]]]])).item()
    1.0
    """
    if weight is None:
        return values.mean()
    weight = F.adaptive_avg_pool2d(weight.to(values), (values.shape[-2], values.shape[-1]))
    return (values * weight).sum() / weight.sum().clamp(min=1e-8)


class AdversarialLoss(Protocol):
    """One of the losses below."""

    def discriminator(self, real: Tensor, generated: Tensor, weight: Tensor | None = None) -> Tensor:
        """Scalar; small where real logits are high and generated ones low."""
        ...

    def generator(self, generated: Tensor, weight: Tensor | None = None) -> Tensor:
        """Scalar; small where generated logits are high."""
        ...


class Vanilla:
    """Goodfellow et al. 2014, with the non-saturating generator loss: cross-entropy on logits."""

    def discriminator(self, real: Tensor, generated: Tensor, weight: Tensor | None = None) -> Tensor:
        return 0.5 * (weighted_mean(F.softplus(-real), weight) + weighted_mean(F.softplus(generated), weight))

    def generator(self, generated: Tensor, weight: Tensor | None = None) -> Tensor:
        return weighted_mean(F.softplus(-generated), weight)


class LeastSquares:
    """LSGAN, Mao et al. 2017, with targets 1 and 0."""

    def discriminator(self, real: Tensor, generated: Tensor, weight: Tensor | None = None) -> Tensor:
        return 0.5 * (weighted_mean((real - 1).square(), weight) + weighted_mean(generated.square(), weight))

    def generator(self, generated: Tensor, weight: Tensor | None = None) -> Tensor:
        return weighted_mean((generated - 1).square(), weight)


class Hinge:
    """Lim & Ye 2017; the generator's loss is linear, so it never saturates."""

    def discriminator(self, real: Tensor, generated: Tensor, weight: Tensor | None = None) -> Tensor:
        return weighted_mean(F.relu(1 - real), weight) + weighted_mean(F.relu(1 + generated), weight)

    def generator(self, generated: Tensor, weight: Tensor | None = None) -> Tensor:
        return -weighted_mean(generated, weight)


class Wasserstein:
    """Arjovsky et al. 2017; to be used with a gradient penalty."""

    def discriminator(self, real: Tensor, generated: Tensor, weight: Tensor | None = None) -> Tensor:
        return weighted_mean(generated, weight) - weighted_mean(real, weight)

    def generator(self, generated: Tensor, weight: Tensor | None = None) -> Tensor:
        return -weighted_mean(generated, weight)


ADVERSARIAL_LOSSES: dict[str, type[AdversarialLoss]] = {
    "vanilla": Vanilla,
    "lsgan": LeastSquares,
    "hinge": Hinge,
    "wasserstein": Wasserstein,
}


def adversarial_loss(name: str) -> AdversarialLoss:
    """The loss called ``name``.

    Raises:
        ConfigError: for a name that is not in ``ADVERSARIAL_LOSSES``.
    """
    if name not in ADVERSARIAL_LOSSES:
        raise ConfigError(f"unknown adversarial loss {name!r}; known: {', '.join(ADVERSARIAL_LOSSES)}")
    return ADVERSARIAL_LOSSES[name]()
