"""Optimiser steps other than the plain one, to be passed to a trainer."""

from collections.abc import Iterable, Mapping

import torch
from torch import nn

from common.training.trainer import OptimiserStep


def proximal_step(mu: float, networks: Iterable[nn.Module] | Mapping[str, nn.Module]) -> OptimiserStep:
    """A step that pulls every weight towards its value at the time of this call (FedProx, Li et al. 2020, eq. 2).

    Adding ``mu * (w - w_global)`` to the gradient is the derivative of the term ``mu / 2 * |w - w_global|**2`` that
    FedProx adds to the loss. Call it right after the global weights were loaded, once a round.

    Args:
        mu: strength of the pull, >= 0; 0 is the plain step.
        networks: what was just loaded, e.g. ``trainer.networks``.

    Raises:
        ValueError: if ``mu`` is negative.
    """
    if mu < 0:
        raise ValueError(f"mu must be at least 0, got {mu}")
    modules = networks.values() if isinstance(networks, Mapping) else networks
    reference = {p: p.detach().clone() for module in modules for p in module.parameters()}

    def step(optimizer: torch.optim.Optimizer) -> None:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None and parameter in reference:
                    parameter.grad.add_(parameter.detach() - reference[parameter], alpha=mu)
        optimizer.step()

    return step
