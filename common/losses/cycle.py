"""The two losses that hold an unpaired translation to its input (Zhu et al. 2017): cycle consistency and identity."""

from torch import Tensor


def cycle_loss(returned: Tensor, images: Tensor) -> Tensor:
    """Scalar: mean absolute difference between ``images`` and the same after translation there and back.

    Both (B, C, H, W) of one range; a difference of 1 is the whole range [0, 1].

    Source: Zhu et al. 2017, eq. 2.

    >>> import torch
    >>> cycle_loss(torch.full((1, 1, 2, 2), 0.25), torch.zeros(1, 1, 2, 2)).item()
    0.25
    """
    return (returned - images).abs().mean()


def identity_loss(unchanged: Tensor, images: Tensor) -> Tensor:
    """Scalar: mean absolute difference between ``images`` and what the generator *into* their domain makes of them.

    Both (B, C, H, W). An image that is in the target domain already should stay as it is.

    Source: Zhu et al. 2017, section 5.2 (after Taigman et al. 2017).
    """
    return (unchanged - images).abs().mean()


def identity_weight(weight: float, step: int, decay_steps: int) -> float:
    """The identity term's weight at ``step``: falls linearly to 0 over ``decay_steps``; 0 keeps it constant.

    It steadies the first steps. Kept on, it argues against every change of contrast that a translation has to make.

    >>> [identity_weight(5.0, step, 100) for step in (0, 50, 100, 200)]
    [5.0, 2.5, 0.0, 0.0]
    >>> identity_weight(5.0, 200, 0)
    5.0
    """
    if decay_steps <= 0:
        return weight
    return weight * max(0.0, 1.0 - step / decay_steps)
