"""What is refused before a private training starts, because a guarantee would silently not hold."""

from collections.abc import Iterator
from dataclasses import is_dataclass
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.nn.utils.parametrize import is_parametrized

from client.privacy.declarations import EXCHANGES, Leaves
from client.privacy.patients import PoissonPatients
from common.errors import PrivacyError, RefusalError
from common.study.allowed import not_private, shown_value
from common.training.patients import PatientTrainer, example_count
from common.training.trainer import Exchange, Trainer

SHOWN = 3
"""Faults that are told one by one: a network with batch normalisation has dozens of the same."""


def require_private(trainer: Trainer[Any]) -> PatientTrainer[Any]:
    """``trainer``, if it can be trained with patients as the unit of privacy.

    Raises:
        PrivacyError: naming what stands against it.
    """
    name = type(trainer).__module__.rpartition(".")[2]
    if not isinstance(trainer, PatientTrainer):
        raise PrivacyError(f"{name}: it has no loss of one patient's slices, so no gradient can be bounded by patient")
    found = list(_faults(trainer))
    if found:
        rest = f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        told = "; ".join(found[:SHOWN]) + rest
        raise PrivacyError(f"{name} cannot be trained with patients as the unit of privacy: {told}")
    return trainer


def require_private_exchange(exchange: Exchange) -> None:
    """
    Raises:
        RefusalError: for a way of training together that is not declared to send noised weights alone. The text may
            leave.
    """
    if EXCHANGES.get(exchange) is not Leaves.NOISED:
        raise RefusalError(f"a private study exchanges no {exchange.value}; choose proxies or average")


def require_patients(patients: Any) -> PoissonPatients:
    """``patients``, if they are Poisson draws.

    Raises:
        PrivacyError: for anything else, such as a trainer's own batches, which are balanced by class.
    """
    if not isinstance(patients, PoissonPatients):
        raise PrivacyError(
            "examples must be Poisson draws of patients: other batches (balanced by class, shuffled, of fixed size)"
            " have no such guarantee"
        )
    return patients


def require_equal_halves(batch: Any) -> None:
    """Refuses a patient's batch whose real and generated halves differ in size.

    Raises:
        PrivacyError: naming the sizes.
    """
    try:
        example_count(batch)
    except ValueError as error:
        raise PrivacyError(str(error)) from error


def _faults(trainer: PatientTrainer[Any]) -> Iterator[str]:
    if EXCHANGES.get(trainer.exchange) is not Leaves.NOISED:
        yield f"exchange={trainer.exchange} sends what one step found before it is noised; use proxies or average"
    if not is_dataclass(trainer.config):
        yield "its configuration is no dataclass, whose keys would say what each may be in a private training"
    for key, value, limit in not_private(trainer.config):
        choices = " or ".join(f"{key}={shown_value(one)}" for one in limit.values)
        yield f"{key}={shown_value(value)}: {limit.because}; set {choices}"
    if trainer.watches_validation:
        yield "it stops or slows down by figures of validation patients, who have no part in the guarantee"
    for network, module in trainer.networks.items():
        if network.endswith("_ema"):
            continue
        yield from (f"{network}.{place}: {fault}" for place, fault in _module_faults(module))


def _module_faults(network: nn.Module) -> Iterator[tuple[str, str]]:
    for place, module in network.named_modules():
        if isinstance(module, _NormBase) and (module.track_running_stats or not isinstance(module, _InstanceNorm)):
            yield place, f"{type(module).__name__} mixes patients; use instance or group normalisation"
        if getattr(module, "inplace", False):
            yield place, f"{type(module).__name__} works in place, on values that a gradient may still need"
        if is_parametrized(module):
            yield place, "spectral normalisation remembers earlier patients of a step; set spectral_norm=false"
