"""The exponential moving average of a network's weights: a generator that does not follow every step."""

import copy
from typing import TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def averaged_copy(network: Network) -> Network:
    """A copy of ``network`` that is never trained, to be kept up by :func:`update_average`."""
    average = copy.deepcopy(network).eval()
    average.requires_grad_(False)
    return average


def warm_decay(decay: float, steps_done: int) -> float:
    """The decay in the step after ``steps_done`` steps: at first far below ``decay``.

    A decay of 0.999 from the first step on would still hold a third of the initial weights after a thousand steps.

    >>> [round(warm_decay(0.999, step), 3) for step in (0, 10, 90, 100_000)]
    [0.1, 0.55, 0.91, 0.999]
    """
    return min(decay, (1 + steps_done) / (10 + steps_done))


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float, steps_done: int) -> None:
    """Moves the parameters and floating-point buffers of ``average`` towards those of ``network``, in place.

    ``average = d * average + (1 - d) * network`` with ``d`` of :func:`warm_decay`; whole-number buffers are copied.

    Args:
        average: of the same architecture as ``network``.
        network: just trained.
        decay: of the average, from 0 (a plain copy) to below 1.
        steps_done: steps before this one.

    Raises:
        ValueError: if ``decay`` is not at least 0 and below 1.

    Source: Polyak & Juditsky 1992; for generators Karras et al. 2018.
    """
    if not 0 <= decay < 1:
        raise ValueError(f"decay must be at least 0 and below 1, got {decay}")
    new = network.state_dict()
    for key, value in average.state_dict().items():
        if value.is_floating_point():
            value.lerp_(new[key].to(value), 1 - warm_decay(decay, steps_done))
        else:
            value.copy_(new[key])
