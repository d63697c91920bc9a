"""The private step: the mean gradient of each patient, clipped, summed, noised, and only then given to an optimiser.

Opacus' ``DPOptimizer`` clips and adds the noise. The gradients of single patients are found in one of two ways, which
give the same: one backward pass a patient (``loop``), or all at once by ``torch.func`` (``vmap``). Opacus' own hooks
are not used: they crash on a gradient penalty or, as ``ew``, are silently wrong, and clip real and generated halves
apart where each has a backward pass of its own.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from enum import StrEnum
from typing import Any, cast

import torch
from opacus.optimizers import DPOptimizer
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from common.errors import PrivacyError
from common.training.patients import PatientUpdate, example_count

GRADIENTS = "grad_sample"
"""Where Opacus looks for the gradients of single patients: an attribute of each weight."""

VMAP_AT_ONCE = 16
"""Most patients whose gradients are held in memory together."""


class Way(StrEnum):
    """How the gradients of single patients are computed."""

    LOOP = "loop"
    VMAP = "vmap"


class PrivateStep:
    """Takes private steps of one optimiser.

    Args:
        optimiser: takes the step; it may have a history, because that history is private already.
        update: whose loss it descends.
        sigma: standard deviation of the noise, in units of ``clip``.
        clip: largest L2 norm of what one patient adds, over all weights together.
        expected: expected number of patients a step, a public number: the sum is divided by it.
        generator: of the noise, on the weights' device; from :func:`client.privacy.randomness.private_generator`.
        way: how gradients are computed.

    Raises:
        PrivacyError: if the loss trains weights that the optimiser does not hold.
    """

    def __init__(
        self,
        optimiser: torch.optim.Optimizer,
        update: PatientUpdate[Any],
        *,
        sigma: float,
        clip: float,
        expected: float,
        generator: torch.Generator,
        way: Way = Way.LOOP,
    ) -> None:
        self.update = update
        self.way = way
        self.parameters = update.parameters()
        held = {id(parameter) for group in optimiser.param_groups for parameter in group["params"]}
        trained = {id(parameter) for parameter in self.parameters.values()}
        if not trained or not trained <= held:
            raise PrivacyError(
                f"{update.optimiser}: its loss trains weights that its optimiser does not hold; they would never move"
            )
        # Weights of the same optimiser that this loss does not train stand still: noise alone would spoil them.
        self.still = [p for group in optimiser.param_groups for p in group["params"] if id(p) not in trained]
        self.optimiser = DPOptimizer(
            optimiser,
            noise_multiplier=sigma,
            max_grad_norm=clip,
            expected_batch_size=cast(int, expected),
            loss_reduction="mean",
            generator=generator,
            secure_mode=True,
        )

    def take(self, patients: Sequence[Any]) -> None:
        """One step on the examples of each of ``patients``, of which there may be none."""
        for parameter in self.still:
            parameter.requires_grad_(False)
            parameter.grad = None
        for parameter in self.parameters.values():
            parameter.requires_grad_(True)
        self.optimiser.zero_grad(set_to_none=True)
        for batch in patients:
            example_count(batch)
        groups = self._groups(patients)
        for number, group in enumerate(groups, start=1):
            gradients = patient_gradients(self.update, group, self.way)
            for name, parameter in self.parameters.items():
                setattr(parameter, GRADIENTS, gradients[name])
            self.optimiser.signal_skip_step(number < len(groups))
            self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)

    def _groups(self, patients: Sequence[Any]) -> list[Sequence[Any]]:
        """The patients whose gradients are held together; one empty group if there are none: noise is added anyway."""
        most = 1 if self.way is Way.LOOP else VMAP_AT_ONCE
        return [patients[start : start + most] for start in range(0, max(1, len(patients)), most)]


def patient_gradients(update: PatientUpdate[Any], patients: Sequence[Any], way: Way) -> dict[str, Tensor]:
    """Weight -> (B, ...) the gradient of each patient's loss; weights that a loss does not touch get zeros.

    A gradient that is not finite becomes zero: clipping cannot bound it, and the patient then adds nothing.
    """
    parameters = update.parameters()
    if not patients:
        return {name: torch.zeros((0, *p.shape), dtype=p.dtype, device=p.device) for name, p in parameters.items()}
    found = _one_by_one(update, parameters, patients) if way is Way.LOOP else _all_at_once(update, patients)
    sound = torch.stack([gradient.flatten(1).isfinite().all(1) for gradient in found.values()]).all(0)
    if bool(sound.all()):
        return found
    return {name: gradient.masked_fill(~_like(sound, gradient), 0.0) for name, gradient in found.items()}


def _like(each: Tensor, gradient: Tensor) -> Tensor:
    return each.view(-1, *[1] * (gradient.dim() - 1))


def _one_by_one(
    update: PatientUpdate[Any], parameters: Mapping[str, nn.Parameter], patients: Sequence[Any]
) -> dict[str, Tensor]:
    rows = []
    for batch in patients:
        gradients = torch.autograd.grad(update.loss(batch), list(parameters.values()), allow_unused=True)
        rows.append(
            [
                torch.zeros_like(parameter) if gradient is None else gradient
                for parameter, gradient in zip(parameters.values(), gradients, strict=True)
            ]
        )
    # A single patient's gradient is not copied: this is the way of the loop.
    stacked = (
        [one.unsqueeze(0) for one in rows[0]]
        if len(rows) == 1
        else [torch.stack(each) for each in zip(*rows, strict=True)]
    )
    return {name: gradient.detach() for name, gradient in zip(parameters, stacked, strict=True)}


class _Loss(nn.Module):
    """The loss as a module that holds the trained networks, so that their weights can be exchanged from outside."""

    def __init__(self, update: PatientUpdate[Any]) -> None:
        super().__init__()
        self.networks = nn.ModuleDict(update.networks)
        self.loss = update.loss

    def forward(self, batch: Any) -> Tensor:
        return self.loss(batch)


def _all_at_once(update: PatientUpdate[Any], patients: Sequence[Any]) -> dict[str, Tensor]:
    module = _Loss(update)
    weights = {name: parameter.detach() for name, parameter in module.named_parameters()}
    first = patients[0]
    moving = [field.name for field in fields(first) if isinstance(getattr(first, field.name), Tensor)]

    def loss(weights: dict[str, Tensor], *tensors: Tensor) -> Tensor:
        batch = replace(first, **dict(zip(moving, tensors, strict=True)))
        value: Tensor = functional_call(module, weights, (batch,))
        return value

    stacked = [torch.stack([getattr(one, name) for one in patients]) for name in moving]
    dimensions = (None, *[0] * len(stacked))
    found = vmap(grad(loss), in_dims=dimensions, randomness="different")(weights, *stacked)
    return {name.removeprefix("networks."): gradient.detach() for name, gradient in found.items()}


def faster_way(update: PatientUpdate[Any], probe: Sequence[Any], device: torch.device) -> Way:
    """The way that takes less time for ``probe`` on this machine, measured; the loop where both fail to differ.

    Args:
        update: of the training.
        probe: made-up patients of the size of real ones: what is measured says nothing about anyone.
        device: where the networks live.
    """
    spent: dict[Way, float] = {}
    for way in (Way.LOOP, Way.VMAP):
        groups = [[one] for one in probe] if way is Way.LOOP else [probe]
        try:
            spent[way] = min(_seconds(update, groups, way, device) for _ in range(2))
        except (RuntimeError, ValueError):
            # Some operation has no rule for it, or memory does not suffice; the loop always works.
            spent[way] = float("inf")
    return min(spent, key=lambda way: spent[way])


def _seconds(update: PatientUpdate[Any], groups: Sequence[Sequence[Any]], way: Way, device: torch.device) -> float:
    _settle(device)
    begun = time.perf_counter()
    for group in groups:
        patient_gradients(update, group, way)
    _settle(device)
    return time.perf_counter() - begun


def _settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
