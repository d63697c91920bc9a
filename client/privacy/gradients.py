"""The private step: the mean gradient of each patient, clipped, summed, noised, and only then given to an optimiser.

Opacus' ``DPOptimizer`` clips; the noise is that of :mod:`client.privacy.randomness`. The gradients of single patients
are found in one of two ways, which give the same: one backward pass a patient (``loop``), or all at once by
``torch.func`` (``vmap``). Opacus' own hooks are not used: they crash on a gradient penalty or, as ``ew``, are silently
wrong, and clip real and generated halves apart where each has a backward pass of its own.

What a patient adds is bounded only if nothing in its loss depends on the others. So chance in a loss follows from the
patient's own number (:class:`common.networks.dropout.Dropout`), and a loss that draws from torch's generator, which all
patients share, is refused.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from enum import StrEnum
from typing import Any, cast

import torch
from opacus.optimizers import DPOptimizer
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.linalg import vector_norm

from client.privacy.patients import Drawn
from client.privacy.randomness import Stream
from common.errors import PrivacyError
from common.networks.dropout import Dropout
from common.training.patients import PatientUpdate, example_count

GRADIENTS = "grad_sample"
"""Where Opacus looks for the gradients of single patients: an attribute of each weight."""

_ABOVE_ZERO = 1e-6
"""Beside a norm, as in Opacus; it also covers that a factor is rounded to single precision."""

VMAP_AT_ONCE = 16
"""Most patients whose gradients are held in memory together."""


Watch = Callable[[dict[str, Tensor]], None]


class GradSampleMode(StrEnum):
    """How the gradients of single patients are computed."""

    LOOP = "loop"
    VMAP = "vmap"


class PrivateStep:
    """Takes private steps of one optimiser.

    Args:
        optimiser: takes the step; it may have a history, because that history is private already.
        update: whose loss it descends.
        sigma: standard deviation of the noise, in units of ``max_grad_norm``.
        max_grad_norm: largest L2 norm of what one patient adds, over all weights together.
        expected: expected number of patients a step, a public number: the sum is divided by it.
        noise: a stream of the training's randomness, for this step alone.
        mode: how gradients are computed.
        watch: is shown the clipped sum of each step, by weight, before the noise. For the tests of this room, which run
            where no patient is.

    Raises:
        PrivacyError: if the loss trains weights that the optimiser does not hold.
    """

    def __init__(
        self,
        optimiser: torch.optim.Optimizer,
        update: PatientUpdate[Any],
        *,
        sigma: float,
        max_grad_norm: float,
        expected: float,
        noise: Stream,
        mode: GradSampleMode = GradSampleMode.LOOP,
        watch: Watch | None = None,
    ) -> None:
        self.update = update
        self.mode = mode
        self.parameters = update.parameters()
        held = {id(parameter) for group in optimiser.param_groups for parameter in group["params"]}
        trained = {id(parameter) for parameter in self.parameters.values()}
        if not trained or not trained <= held:
            raise PrivacyError(
                f"{update.optimiser}: its loss trains weights that its optimiser does not hold; they would never move"
            )
        # Weights of the same optimiser that this loss does not train stand still: noise alone would spoil them.
        self.still = [p for group in optimiser.param_groups for p in group["params"] if id(p) not in trained]
        self._watch = watch
        self.optimiser = _Noised(
            optimiser,
            noise_multiplier=sigma,
            max_grad_norm=max_grad_norm,
            expected_batch_size=cast(int, expected),
            loss_reduction="mean",
        )
        self.optimiser.noise = noise
        self.optimiser.watch = self._show if watch is not None else None

    def _show(self) -> None:
        assert self._watch is not None
        self._watch({name: cast(Any, p).summed_grad.detach().clone() for name, p in self.parameters.items()})

    def take(self, patients: Sequence[Drawn]) -> None:
        """One step on the examples of each of ``patients``, of which there may be none."""
        for parameter in self.still:
            parameter.requires_grad_(False)
            parameter.grad = None
        for parameter in self.parameters.values():
            parameter.requires_grad_(True)
        self.optimiser.zero_grad(set_to_none=True)
        for one in patients:
            example_count(one.batch)
        groups = self._groups(patients)
        for number, group in enumerate(groups, start=1):
            gradients = patient_gradients(self.update, group, self.mode)
            for name, parameter in self.parameters.items():
                setattr(parameter, GRADIENTS, gradients[name])
            self.optimiser.signal_skip_step(number < len(groups))
            self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)

    def _groups(self, patients: Sequence[Drawn]) -> list[Sequence[Drawn]]:
        """The patients whose gradients are held together; one empty group if there are none: noise is added anyway."""
        most = 1 if self.mode is GradSampleMode.LOOP else VMAP_AT_ONCE
        return [patients[start : start + most] for start in range(0, max(1, len(patients)), most)]


class _Noised(DPOptimizer):  # type: ignore[misc]
    """Opacus' optimiser with noise from a cryptographic stream: its own comes from a ``torch.Generator``."""

    noise: Stream
    watch: Callable[[], None] | None = None

    def clip_and_accumulate(self) -> None:
        """As Opacus does it, but with norms in double precision: a sum of millions of small squares beside a large one
        loses them in single precision, and the patient would add more than the bound."""
        each = self.grad_samples
        squares = [vector_norm(one.flatten(1), dim=1, dtype=torch.float64).square() for one in each]
        factor = (self.max_grad_norm / (torch.stack(squares).sum(0).sqrt() + _ABOVE_ZERO)).clamp(max=1.0)
        for parameter, gradients in zip(self.params, each, strict=True):
            clipped = torch.einsum("i,i...", factor.to(parameter.dtype), gradients.to(parameter.dtype))
            if parameter.summed_grad is None:
                parameter.summed_grad = clipped
            else:
                parameter.summed_grad += clipped

    def add_noise(self) -> None:
        """To the sum over patients, all weights at once."""
        if self.watch is not None:
            self.watch()
        summed = [parameter.summed_grad for parameter in self.params]
        sizes = [gradient.numel() for gradient in summed]
        noise = self.noise.normal((sum(sizes),), summed[0].device) * (self.noise_multiplier * self.max_grad_norm)
        for parameter, gradient, part in zip(self.params, summed, noise.split(sizes), strict=True):
            parameter.grad = (gradient + part.view_as(gradient)).view_as(parameter)


def patient_gradients(update: PatientUpdate[Any], patients: Sequence[Drawn], mode: GradSampleMode) -> dict[str, Tensor]:
    """Weight -> (B, ...) the gradient of each patient's loss; weights that a loss does not touch get zeros.

    A gradient that is not finite becomes zero: clipping cannot bound it, and the patient then adds nothing.

    Raises:
        PrivacyError: if the loss draws from torch's generator: what it then draws for a patient depends on the others.
    """
    parameters = update.parameters()
    if not patients:
        return {name: torch.zeros((0, *p.shape), dtype=p.dtype, device=p.device) for name, p in parameters.items()}
    found = _one_by_one(update, parameters, patients) if mode is GradSampleMode.LOOP else _all_at_once(update, patients)
    sound = torch.stack([gradient.flatten(1).isfinite().all(1) for gradient in found.values()]).all(0)
    if bool(sound.all()):
        return found
    return {name: gradient.masked_fill(~_like(sound, gradient), 0.0) for name, gradient in found.items()}


def _like(each: Tensor, gradient: Tensor) -> Tensor:
    return each.view(-1, *[1] * (gradient.dim() - 1))


@contextmanager
def _chance(update: PatientUpdate[Any], chance: Tensor) -> Iterator[None]:
    """Within it, chance in the loss follows from a patient's own number."""
    modules = [m for network in update.networks.values() for m in network.modules() if isinstance(m, Dropout)]
    for place, module in enumerate(modules):
        module.chance = chance + place
    try:
        yield
    finally:
        for module in modules:
            module.chance = None


_SHARED_CHANCE = (
    "draws from torch's generator, which all patients of a step share, so that what one adds is not bounded"
)


@contextmanager
def _no_shared_chance(update: PatientUpdate[Any]) -> Iterator[None]:
    """
    Raises:
        PrivacyError: if torch's generators, on the CPU or the weights' device, stand elsewhere afterwards.
    """
    before = _generators(update)
    yield
    if not all(torch.equal(a, b) for a, b in zip(before, _generators(update), strict=True)):
        raise PrivacyError(f"{update.optimiser}: its loss {_SHARED_CHANCE}")


def _generators(update: PatientUpdate[Any]) -> list[Tensor]:
    devices = {parameter.device for parameter in update.parameters().values() if parameter.device.type == "cuda"}
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state(device) for device in sorted(devices, key=str))]


def _one_by_one(
    update: PatientUpdate[Any], parameters: Mapping[str, nn.Parameter], patients: Sequence[Drawn]
) -> dict[str, Tensor]:
    rows = []
    for one in patients:
        with _no_shared_chance(update), _chance(update, torch.tensor(one.chance)):
            loss = update.loss(one.batch)
        gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
        rows.append(
            [
                torch.zeros_like(parameter) if gradient is None else gradient
                for parameter, gradient in zip(parameters.values(), gradients, strict=True)
            ]
        )
    # A single patient's gradient is not copied: the loop takes it as it is.
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


def _all_at_once(update: PatientUpdate[Any], patients: Sequence[Drawn]) -> dict[str, Tensor]:
    module = _Loss(update)
    weights = {name: parameter.detach() for name, parameter in module.named_parameters()}
    first = patients[0].batch
    moving = [field.name for field in fields(first) if isinstance(getattr(first, field.name), Tensor)]

    def loss(weights: dict[str, Tensor], chance: Tensor, *tensors: Tensor) -> Tensor:
        batch = replace(first, **dict(zip(moving, tensors, strict=True)))
        with _chance(update, chance):
            value: Tensor = functional_call(module, weights, (batch,))
        return value

    chances = torch.tensor([one.chance for one in patients])
    stacked = [torch.stack([getattr(one.batch, name) for one in patients]) for name in moving]
    dimensions = (None, *[0] * (1 + len(stacked)))
    try:
        found = vmap(grad(loss), in_dims=dimensions, randomness="error")(weights, chances, *stacked)
    except RuntimeError as error:
        if "randomness" in str(error):
            raise PrivacyError(f"{update.optimiser}: its loss {_SHARED_CHANCE}") from error
        raise
    return {name.removeprefix("networks."): gradient.detach() for name, gradient in found.items()}
