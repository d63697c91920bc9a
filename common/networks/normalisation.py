"""InstanceNorm by the kernel of GroupNorm: the same function in about half the time on a CPU."""

import torch.nn.functional as F
from torch import Tensor, nn


def instance_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    """Each map of ``x`` (B, C, H, W) to mean 0 and variance 1, then scaled and shifted by (C,) each."""
    # With the channels innermost, this kernel is the slower one.
    return F.group_norm(x.contiguous(), x.shape[1], weight, bias, eps)


class InstanceNorm(nn.InstanceNorm2d):
    """``nn.InstanceNorm2d`` with learnt scale and shift, computed as GroupNorm with one channel a group (Wu & He 2018).

    PyTorch's own goes through BatchNorm on a reshaped batch, which copies scale and shift for every image.

    Args:
        channels: of the maps.

    >>> import torch
    >>> InstanceNorm(4)(torch.zeros(2, 4, 3, 3)).shape
    torch.Size([2, 4, 3, 3])
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, affine=True)

    @classmethod
    def like(cls, other: nn.InstanceNorm2d) -> "InstanceNorm":
        """The same normalisation with the same weights, not a copy of them."""
        made = cls.__new__(cls)
        made.__dict__.update(other.__dict__)
        return made

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) from the same.

        Raises:
            ValueError: for maps of one pixel, which have no variance.
        """
        if x.shape[-1] * x.shape[-2] == 1:
            raise ValueError(f"a map of one pixel cannot be normalised, got {tuple(x.shape)}")
        return instance_norm(x, self.weight, self.bias, self.eps)
