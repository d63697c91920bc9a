"""Which of the grad-sample modes is the faster one on this machine."""

import time
from collections.abc import Sequence
from typing import Any

import torch

from client.privacy.gradients import GradSampleMode, patient_gradients
from client.privacy.patients import Drawn
from common.training.patients import PatientUpdate


def faster_mode(update: PatientUpdate[Any], probe: Sequence[Drawn], device: torch.device) -> GradSampleMode:
    """The mode that takes less time for ``probe`` on this machine, measured; the loop where both fail to differ.

    Args:
        update: of the training.
        probe: made-up patients of the size of real ones: what is measured says nothing about anyone.
        device: where the networks live.
    """
    spent: dict[GradSampleMode, float] = {}
    for mode in (GradSampleMode.LOOP, GradSampleMode.VMAP):
        groups = [[one] for one in probe] if mode is GradSampleMode.LOOP else [probe]
        try:
            spent[mode] = min(_seconds(update, groups, mode, device) for _ in range(2))
        except (RuntimeError, ValueError):
            # Some operation has no rule for it, or memory does not suffice; the loop always works.
            spent[mode] = float("inf")
    return min(spent, key=lambda mode: spent[mode])


def _seconds(
    update: PatientUpdate[Any], groups: Sequence[Sequence[Drawn]], mode: GradSampleMode, device: torch.device
) -> float:
    _settle(device)
    begun = time.perf_counter()
    for group in groups:
        patient_gradients(update, group, mode)
    _settle(device)
    return time.perf_counter() - begun


def _settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
