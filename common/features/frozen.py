"""The shape of a frozen network: it never trains, and gives feature maps by layer name."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class FrozenNetwork(nn.Module, ABC):
    """A network in evaluation mode for good. Gradients reach its input, never its weights.

    Attributes:
        layers: the names that :meth:`feature_maps` knows, from shallow to deep.
    """

    layers: tuple[str, ...]

    @abstractmethod
    def feature_maps(self, images: Tensor, layers: Sequence[str]) -> list[Tensor]:
        """Maps (B, D, H', W') of the layers asked for, in the order of ``layers``.

        Args:
            images: (B, C, H, W) in [0, 1], C = 1 or 3, at their own size; values outside [0, 1] are not clipped.
            layers: names out of ``self.layers``; nothing deeper than the deepest of them is computed.

        Raises:
            ValueError: for a layer that this network does not have, or another number of channels.
        """

    def freeze(self) -> Self:
        """Takes every weight out of training; to be called once the weights are in."""
        self.requires_grad_(False)
        return self.eval()

    def train(self, mode: bool = True) -> Self:
        """Stays in evaluation mode, so that a trainer's ``train()`` cannot change the batch statistics."""
        return super().train(False)

    def _check(self, layers: Sequence[str]) -> None:
        unknown = [layer for layer in layers if layer not in self.layers]
        if unknown or not layers:
            raise ValueError(f"unknown layers {unknown}; known: {', '.join(self.layers)}")


def as_colour(images: Tensor) -> Tensor:
    """(B, 3, H, W): a grey channel three times, colour as it is.

    >>> as_colour(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 3, 8, 8])

    Raises:
        ValueError: for any other number of channels (choose or split contrasts first, see :func:`split_contrasts`).
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(f"expected (B, 1, H, W) or (B, 3, H, W), got {tuple(images.shape)}")
    return images.expand(-1, 3, -1, -1)


def split_contrasts(images: Tensor) -> Tensor:
    """(B * C, 1, H, W): every contrast as a grey image of its own, slice by slice.

    >>> split_contrasts(torch.zeros(2, 4, 8, 8)).shape
    torch.Size([8, 1, 8, 8])
    """
    return images.reshape(-1, 1, *images.shape[-2:])


def resized(images: Tensor, size: int) -> Tensor:
    """Images at ``size`` x ``size``, bilinear; smoothed first where that makes them smaller."""
    if images.shape[-2:] == (size, size):
        return images
    smaller = min(images.shape[-2:]) > size
    return F.interpolate(images, (size, size), mode="bilinear", align_corners=False, antialias=smaller)


def channel_constants(values: Sequence[float]) -> Tensor:
    """(1, C, 1, 1) float32, for the normalisation of images."""
    return torch.tensor(list(values)).view(1, -1, 1, 1)
