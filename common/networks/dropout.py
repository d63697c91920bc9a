"""Dropout whose mask can be a function of one number: alike whichever other examples are computed beside it."""

import torch
from torch import Tensor, nn

_STEP = 0x9E3779B97F4A7C15 - (1 << 64)
_FIRST = 0xBF58476D1CE4E5B9 - (1 << 64)
_SECOND = 0x94D049BB133111EB - (1 << 64)


class Dropout(nn.Dropout):
    """``nn.Dropout``; while :attr:`chance` is set, its mask follows from that number alone.

    torch draws masks from one generator for all, so that an example's depends on how many came before it, and under
    ``vmap`` on its place. Where one patient's gradient must not depend on other patients, each brings a number of its
    own.

    Attributes:
        chance: () int64, or None: masks come from torch's generator, as usual. It is neither a weight nor saved.

    >>> network = Dropout(0.5)
    >>> network.chance = torch.tensor(7)
    >>> torch.equal(network(torch.ones(8)), network(torch.ones(8)))
    True
    """

    chance: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.chance is None or not self.training or self.p == 0.0:
            return super().forward(x)
        return x * (uniform(self.chance, x.shape, x.device) >= self.p) / (1 - self.p)


def uniform(chance: Tensor, shape: torch.Size, device: torch.device) -> Tensor:
    """Evenly from [0, 1), by the SplitMix64 generator (Steele, Lea & Flood 2014) at counters 1, 2, …

    Args:
        chance: () int64, the seed; under ``vmap`` one for each example.
        shape: of the result.
        device: of the result.
    """
    state = chance.to(device) + _STEP * torch.arange(1, shape.numel() + 1, dtype=torch.int64, device=device)
    state = (state ^ _shifted(state, 30)) * _FIRST
    state = (state ^ _shifted(state, 27)) * _SECOND
    state = state ^ _shifted(state, 31)
    return (_shifted(state, 40).double() * 2.0**-24).view(shape)


def _shifted(bits: Tensor, by: int) -> Tensor:
    """A shift to the right that brings in zeros: torch's own repeats the sign."""
    return (bits >> by) & ((1 << (64 - by)) - 1)
